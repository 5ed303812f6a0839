use super::*;

/// The executable of this test: an ELF file for this machine, and no plugin.
fn own_bytes() -> Vec<u8> {
    fs_err::read(std::env::current_exe().unwrap()).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().join("lib.so")).unwrap();
    fs_err::write(&path, bytes).unwrap();
    check(&path).unwrap_err().to_string().replace(path.as_str(), "lib.so")
}

#[test]
fn what_is_no_elf_file_is_refused() {
    assert_eq!(refused(b""), "library `lib.so` is empty");
    assert_eq!(refused(b"\x7fELF"), "`lib.so` is not an ELF file");
    assert_eq!(refused(b"#!/bin/sh\necho not a library\n"), "`lib.so` is not an ELF file");
    assert_eq!(refused(&[0; 4096]), "`lib.so` is not an ELF file");
}

#[test]
fn a_library_for_another_machine_is_refused_by_name() {
    let mut bytes = own_bytes();
    let foreign = if MACHINE == elf::EM_AARCH64 { elf::EM_X86_64 } else { elf::EM_AARCH64 };
    bytes[18..20].copy_from_slice(&foreign.0.to_ne_bytes());
    let name = if foreign == elf::EM_AARCH64 { "aarch64" } else { "x86_64" };
    assert_eq!(
        refused(&bytes),
        format!("library `lib.so` is for {name}, this machine is {}", std::env::consts::ARCH)
    );
}

#[test]
fn a_library_that_ends_early_is_refused_wherever_it_ends() {
    let bytes = own_bytes();
    for length in [20, 63, 64, 200, 4096, bytes.len() / 2, bytes.len() - 1] {
        let reason = refused(&bytes[..length]);
        assert!(reason.starts_with("library `lib.so` is truncated"), "{length}: {reason}");
    }
}

#[test]
fn a_program_and_an_object_file_are_no_libraries() {
    let mut bytes = own_bytes();
    bytes[16..18].copy_from_slice(&elf::ET_EXEC.0.to_ne_bytes());
    assert_eq!(refused(&bytes), "`lib.so` is a program, not a shared library");
    bytes[16..18].copy_from_slice(&elf::ET_REL.0.to_ne_bytes());
    assert_eq!(refused(&bytes), "`lib.so` is an object file, not a shared library");
}

#[test]
fn a_library_without_the_symbol_is_no_plugin() {
    assert_eq!(
        refused(&own_bytes()),
        format!("library `lib.so` is no imageforge plugin: it does not export `{SYMBOL}`")
    );
}

#[test]
fn no_damage_to_the_headers_makes_it_panic() {
    let original = own_bytes();
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().join("lib.so")).unwrap();
    // Sparse, so that the variants cost little time.
    let mut head = original[..512].to_vec();
    // Bytes 60 and 61 count the sections; without any, the symbols are left to the loader.
    for position in (0..head.len()).filter(|position| !(60..62).contains(position)) {
        for value in [0x00, 0xff] {
            let old = std::mem::replace(&mut head[position], value);
            fs_err::write(&path, &head).unwrap();
            fs_err::OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(original.len() as u64))
                .unwrap();
            assert!(check(&path).is_err(), "byte {position} = {value}");
            head[position] = old;
        }
    }
}
