//! File systems of every size pass a check, and what does not fit is told before anything is written.

use std::io;

use crate::tools::{Image, MIB, options};
use ext4::{Entry, Error, Journal, Region, Tree, WriteAt};

fn sample() -> Tree {
    let mut tree = Tree::new();
    for number in 0..700_usize {
        let entry = Entry::file(vec![1; number * 7]);
        tree.add(format!("usr/share/{}/{number}", number % 9), entry).unwrap();
    }
    tree
}

#[test]
fn sizes_from_8_mib_to_100_gib_pass_the_check() {
    for mib in [8, 9, 127, 128, 129, 130, 1000, 2050, 20_000, 102_400] {
        let image = Image::checked(&Tree::new(), &options(mib * MIB));
        assert!(image.summary.size_bytes + 128 * MIB > mib * MIB, "{mib}");
        assert!(image.summary.written_bytes < 8 * MIB, "{mib}: {:?}", image.summary);
    }
}

#[test]
fn sizes_that_are_no_whole_blocks_or_leave_a_tiny_group_pass_the_check() {
    for bytes in [8 * MIB + 4095, 128 * MIB + 1, 256 * MIB + 40 * 4096, 2048 * MIB + 100 * 4096] {
        Image::checked(&sample(), &options(bytes));
    }
}

#[test]
fn the_minimum_size_is_enough_and_much_less_is_not() {
    for journal in [Journal::Auto, Journal::None, Journal::Bytes(5 * MIB)] {
        let options = options(0).journal(journal);
        let tree = sample();
        let minimum = tree.minimum_size(&options).unwrap();
        let with_size = |size_bytes| {
            let mut options = options.clone();
            options.size_bytes = size_bytes;
            options
        };
        let image = Image::checked(&tree, &with_size(minimum));
        assert!(image.summary.free_bytes < MIB, "{:?}", image.summary);

        let mut untouched = Vec::new();
        let error = tree.write(&with_size(minimum - MIB), &mut untouched).unwrap_err();
        let Error::DoesNotFit { needed, available } = error else { panic!("{error}") };
        assert!(needed <= minimum && available == minimum - MIB);
        assert!(untouched.is_empty());
    }
}

#[test]
fn impossible_sizes_are_told_apart() {
    let write = |size| Tree::new().write(&options(size), &mut Vec::new()).unwrap_err();
    assert!(matches!(write(0), Error::TooSmall { .. }));
    assert!(matches!(write(100_000), Error::TooSmall { .. }));
    assert!(matches!(write(1 << 50), Error::Option { option: "size_bytes", .. }));
    let mut few = options(64 * MIB);
    few.inodes = Some(100);
    let error = sample().write(&few, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::TooFewInodes { .. }), "{error}");
    assert!(matches!(sample().minimum_size(&few), Err(Error::TooFewInodes { .. })));
}

#[test]
fn many_inodes_can_be_had() {
    let mut many = options(1024 * MIB);
    many.inodes = Some(200_000);
    assert!(Image::checked(&sample(), &many).summary.inodes >= 200_000);
}

#[test]
fn a_partition_is_written_in_its_place_and_nowhere_else() {
    let options = options(8 * MIB);
    let alone = Image::checked(&sample(), &options);
    let file = fs_err::File::from_parts(tempfile::tempfile().unwrap(), "image");
    file.set_len(10 * MIB).unwrap();
    sample().write(&options, &mut Region::new(&file, MIB)).unwrap();
    let mut disk = Vec::new();
    io::Read::read_to_end(&mut &file, &mut disk).unwrap();
    let mib = usize::try_from(MIB).unwrap();
    assert!(disk[..mib].iter().chain(&disk[9 * mib..]).all(|byte| *byte == 0));
    assert!(disk[mib..9 * mib] == alone.bytes());
}

#[test]
fn a_failing_output_names_the_place() {
    struct Full;
    impl WriteAt for Full {
        fn write_at(&mut self, _offset: u64, _data: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    let error = sample().write(&options(8 * MIB), &mut Full).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
}
