//! Disk space is promised before a build is accepted, and the promise is kept.

use crate::support::{Ran, Workshop};

/// Runs `script` with a data directory of `size` MiB, not counting copies of libraries. Figures below are those of the settings.
fn on_disk(workshop: &Workshop, size: u32, script: &str) -> Ran {
    for reserve in [0, 2, 5, 10, 1900] {
        let text = format!("[limits]\nreserve_mib = {reserve}\n");
        workshop.write(&format!("reserve-{reserve}.toml"), text);
    }
    workshop.run_script(&format!(
        "first=; trap 'kill -9 $first 2>/dev/null || true' EXIT\n\
         mkdir data; mount -t tmpfs -o size={size}m none data\n\
         for folder in cache libraries; do mkdir data/$folder; mount -t tmpfs none data/$folder; done\n\
         images() {{ $IMAGEFORGE images list --format json --quiet; }}\n\
         status() {{ images | grep -c '\"status\": \"'$1'\"' || true; }}\n\
         wait_for() {{ for _ in $(seq 900); do [ \"$(status $1)\" = \"$2\" ] && return; sleep 0.05; done; return 1; }}\n\
         build() {{ reserve=$1; shift; $IMAGEFORGE --config reserve-$reserve.toml base-image \"$@\" >&2; }}\n\
         {script}"
    ))
}

#[test]
fn what_does_not_fit_is_refused_before_there_is_a_record() {
    let workshop = Workshop::new();
    let ran = on_disk(
        &workshop,
        64,
        "$IMAGEFORGE build mock.tdl --target mock --dry-run || echo $? >> codes\n\
         $IMAGEFORGE build mock.tdl --target mock || echo $? >> codes\n\
         $IMAGEFORGE templates check mock.tdl || echo $? >> codes\n\
         images",
    );
    assert_eq!(ran.stdout.trim(), "[]");
    let codes = fs_err::read_to_string(workshop.path("codes")).unwrap();
    assert_eq!(codes.split_whitespace().collect::<Vec<_>>(), ["6"; 3]);
    // Both images of the first two requests, the base image of the third.
    ran.done()
        .says("2048 MiB of disk are to be reserved")
        .says("1024 MiB of disk are to be reserved")
        .says("MiB that are free, 0 MiB are promised")
        .says("hint: ")
        .says("`reserve_mib`");
    workshop.assert_quiet();
}

#[test]
fn a_plan_tells_what_it_reserves() {
    let workshop = Workshop::new();
    let ran = workshop.run(&["build", "mock.tdl", "--target", "mock", "--dry-run"]).done();
    ran.prints("2.0 GiB reserved, ").prints(" free, 0 B promised to builds under way");
    let plan = workshop.json(&["build", "mock.tdl", "--dry-run"]);
    assert_eq!(plan["room"]["wanted_bytes"], 1 << 30);
    workshop.write("settings.toml", "[limits.plugin.mock-os]\ndisk_mib = 7\n");
    let plan = workshop.json(&["--config", "settings.toml", "templates", "check", "mock.tdl"]);
    assert_eq!(plan["room"]["wanted_bytes"], 7 << 20);
}

#[test]
fn what_others_were_promised_is_not_promised_again_until_they_end_or_die() {
    let workshop = Workshop::new();
    let ran = on_disk(
        &workshop,
        8,
        "$IMAGEFORGE --config reserve-5.toml build mock.tdl --parameter delay_ms=600000 >&2 & first=$!\n\
         wait_for BUILDING 1\n\
         build 5 mock.tdl --rebuild || echo refused $?\n\
         build 2 mock.tdl --rebuild && echo accepted\n\
         kill -9 $first; wait $first || first=\n\
         build 5 mock.tdl --rebuild && echo accepted\n\
         status COMPLETE",
    );
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), ["refused 6", "accepted", "accepted", "2"]);
    ran.done().says("5 MiB of disk are to be reserved").says("5 MiB are promised to builds");
    workshop.assert_quiet();
}

#[test]
fn a_build_within_its_reservation_is_never_ended_for_a_full_disk() {
    let workshop = Workshop::new();
    // Long enough to be looked at.
    let ran = on_disk(&workshop, 8, "build 2 mock.tdl --parameter delay_ms=2500 && echo completed");
    assert_eq!(ran.done().stdout.trim(), "completed");
    workshop.assert_quiet();
}

#[test]
fn who_grows_without_a_reservation_leaves_some_space() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("exhausts");
    workshop.template_for("bad.tdl", "Misbehaving");
    workshop.write("bad.json", r#"{"when": "create_base_image", "how": "disk"}"#);
    let ran = on_disk(&workshop, 700, "build 0 bad.tdl --parameters bad.json || echo ended $?");
    assert_eq!(ran.stdout.trim(), "ended 1");
    ran.done().says("0 MiB were reserved for them").says("256 MiB are to stay free");
    workshop.assert_quiet();
}

#[test]
fn who_grows_beyond_its_reservation_is_ended_before_others_lack_theirs() {
    let workshop = Workshop::new();
    workshop.link_misbehaving("exhausts");
    workshop.template_for("bad.tdl", "Misbehaving");
    workshop.write("bad.json", r#"{"when": "create_base_image", "how": "disk"}"#);
    workshop.write("hold.json", serde_json::json!({ "run": workshop.hold() }).to_string());
    let ran = on_disk(
        &workshop,
        2048,
        "build 1900 mock.tdl --parameters hold.json & first=$!\n\
         wait_for BUILDING 1\n\
         build 10 bad.tdl --parameters bad.json || echo ended $?\n\
         touch go; wait $first && first= && echo completed",
    );
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), ["ended 1", "completed"]);
    ran.done()
        .says("in `create_base_image` of plugin `exhausts`")
        .says("10 MiB were reserved for them")
        .says("1900 MiB are promised to other builds")
        .says("`reserve_mib = 10`");
    workshop.assert_quiet();
}
