//! A daemon that ends and another that begins, under traffic: no packet is lost.

mod common;

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::net::*;
use common::pair::*;
use ebpf::HookKind;
use nix::sys::socket::{setsockopt, sockopt};

/// Numbered datagrams from pod to pod while both nodes' daemons come and go; also ping, both ways.
fn loses_nothing(kind: HookKind) {
    let mut pair = Pair::new(Options { underlay_offloads: true, tun_offloads: true, kind });
    run_in("pa", "ping -q -c 1 -W 5 10.50.2.2");
    let sender = inside("pa", || UdpSocket::bind("10.50.1.2:0").unwrap());
    let receiver = inside("pb", || UdpSocket::bind("10.50.2.2:7000").unwrap());
    // A test that waits for its turn on a busy machine must not look like a loss.
    setsockopt(&receiver, sockopt::RcvBufForce, &(64 << 20)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let stop = AtomicBool::new(false);
    let (sent, received, ping) = thread::scope(|scope| {
        let stop = &stop;
        let sending = scope.spawn(move || {
            let mut n = 0_u32;
            while !stop.load(Ordering::Acquire) {
                sender.send_to(&n.to_be_bytes(), "10.50.2.2:7000").unwrap();
                n += 1;
                // Paced, so that only the overlay could lose one.
                let next = Instant::now() + Duration::from_micros(100);
                while Instant::now() < next {
                    thread::yield_now();
                }
            }
            n
        });
        let receiving = scope.spawn(move || {
            let (mut received, mut buffer) = (0_u32, [0; 64]);
            loop {
                let stopped = stop.load(Ordering::Acquire);
                match receiver.recv(&mut buffer) {
                    Ok(_) => received += 1,
                    Err(_) if stopped => return received,
                    Err(_) => {}
                }
            }
        });
        let pinging = scope.spawn(|| run_in("pb", "ping -q -c 400 -i 0.005 -W 5 10.50.1.2"));
        for round in 0..30 {
            if round == 10 {
                // The daemon's descriptors are closed: the persistent TUNs have no carrier now.
                pair.tuns.clear();
            }
            for (node, ..) in NODES {
                let mut overlay = pair.open(node, kind);
                assert!(inside(node, || overlay.attached()).unwrap());
            }
        }
        let ping = pinging.join().unwrap();
        stop.store(true, Ordering::Release);
        (sending.join().unwrap(), receiving.join().unwrap(), ping)
    });
    assert!(sent > 1000, "{sent}");
    assert_eq!(received, sent, "{} lost", sent - received);
    assert!(ping.contains(" 0% packet loss"), "{ping}");
}

#[test]
fn loses_nothing_with_tcx() {
    loses_nothing(HookKind::Tcx);
}

#[test]
fn loses_nothing_with_clsact() {
    loses_nothing(HookKind::Clsact);
}
