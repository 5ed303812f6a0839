//! The lines between supervisor and worker.

use imageforge::factory::protocol::{
    CANCEL, MAX_LINE_BYTES, Message, Request, for_each_line, wait_for_cancel,
};

/// Reads `input` as what a worker, or a plugin in it, writes: no byte is lost, and each line is a
/// message that prints, on one line, and reads back.
///
/// # Panics
/// When a promise is broken.
pub fn worker_output(input: &[u8]) {
    let mut seen = Vec::new();
    for_each_line(input, |line| {
        assert!(line.len() as u64 <= MAX_LINE_BYTES);
        seen.extend_from_slice(line);
        match Message::from_line(line) {
            Some(message) => assert_reads_back(&message),
            None => assert!(line.trim_ascii().is_empty()),
        }
        true
    });
    assert!(seen == input, "bytes were lost");
}

fn assert_reads_back(message: &Message) {
    let printed = serde_json::to_string(message).expect("JSON");
    assert!(!printed.contains('\n'), "a message is one line");
    let again = Message::from_line(printed.as_bytes()).expect("a line that is not blank");
    assert_eq!(serde_json::to_string(&again).expect("JSON"), printed);
}

/// Reads `input` as what a supervisor writes: a request prints and reads back, and a line that
/// says `cancel` is seen wherever it stands.
///
/// # Panics
/// When a promise is broken.
pub fn worker_input(input: &[u8]) {
    let first = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Ok(request) = serde_json::from_slice::<Request>(first) {
        let printed = serde_json::to_string(&request).expect("JSON");
        let again: Request = serde_json::from_str(&printed).expect("a request that was printed");
        assert_eq!(serde_json::to_string(&again).expect("JSON"), printed);
    }
    let asked = input.split(|byte| *byte == b'\n').any(|line| line == CANCEL.as_bytes());
    assert_eq!(wait_for_cancel(input), asked);
}
