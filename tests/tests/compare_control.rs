//! `weft control` killed at moments that nobody chose, in its first start: the next one always comes up. And clients of a server
//! that are slow for longer than it waits.
//!
//! Needs etcd.

use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use host::programs::Signal;
use serde_json::json;
use tests::apiserver::authorization;
use tests::apiserver::control::Control;
use tests::apiserver::session::Session;
use tests::wait::until_explained;

/// The longest that a client is let be, and more than enough.
const LONG: Duration = Duration::from_secs(180);

#[test]
fn a_first_start_that_is_killed_at_any_moment_is_made_good_by_the_next() {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    // xorshift: any numbers will do.
    let mut state = since.subsec_nanos() | 1;
    let mut random = |most: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        Duration::from_millis(u64::from(state % most))
    };
    for nth in 0..10 {
        let control = Control::new();
        // The second one is killed in the midst of mending.
        for _ in 0..2 {
            let moment = random(1_500);
            println!("{nth}: killed after {moment:?}");
            control.start();
            std::thread::sleep(moment);
            control.daemon.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
        }
        control.start();
        control.wait_ready();
        control.create("a");
        assert_eq!(control.etcds().len(), 1);
    }
}

#[test]
fn who_sends_a_head_byte_by_byte_or_reads_no_answer_is_cut_off_and_others_are_served() {
    let control = Control::new();
    control.start();
    control.wait_ready();
    for nth in 0..4 {
        let body = json!({"metadata": {"name": format!("large-{nth}")}, "data": {"a": "x".repeat(900_000)}});
        let made = control.ask("POST", "/api/v1/namespaces/default/configmaps", &body);
        assert!(made.as_ref().is_some_and(|(code, _)| *code == 201), "{made:?}");
    }
    let serves = || assert!(control.has("large-0"));
    let client = control.client().expect("keys");
    let mut slow = client.connect().expect("a connection");
    slow.get_ref().sock.set_read_timeout(Some(Duration::from_millis(10))).expect("a limit");
    slow.get_mut().write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("it is sent");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (session, unread) = runtime.block_on(async {
        // Of each answer the server may send 64 KiB that nobody reads.
        let session = Session::open_with(&client, 65_535).await.expect("HTTP/2");
        let mut unread = Vec::new();
        for _ in 0..30 {
            let path = "/api/v1/namespaces/default/configmaps";
            let answer = session.begin("GET", path, &authorization("admin"), &[]).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            unread.push(answer);
        }
        (session, unread)
    });
    let ended = std::cell::Cell::new((false, false));
    until_explained(
        "both to be cut off",
        LONG,
        || {
            let (mut head_ended, mut session_ended) = ended.get();
            if !head_ended {
                let sent = slow.get_mut().write_all(b"y").and_then(|()| slow.get_mut().flush());
                let answer = slow.read(&mut [0; 1024]);
                // An answer is a refusal: the head has no end.
                let waits = answer.is_err_and(|error| {
                    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
                });
                head_ended = sent.is_err() || !waits;
            }
            if !session_ended {
                // It is awake otherwise, and others of its requests are answered meanwhile.
                let asked = runtime.block_on(session.ask("GET", "/version", &authorization("admin"), &[]));
                session_ended = asked.is_err();
            }
            ended.set((head_ended, session_ended));
            serves();
            std::thread::sleep(Duration::from_millis(200));
            (head_ended && session_ended).then_some(())
        },
        || format!("{:?}: {}", ended.get(), control.daemon.log_tail(20)),
    );
    let log = control.daemon.log();
    assert!(log.contains("leaves an answer unread"), "{log}");
    drop(unread);
    serves();
}
