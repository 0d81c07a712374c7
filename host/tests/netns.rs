//! Network namespaces by name, shared with iproute2. Needs root.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{DEADLINE, Place};
use host::command::{Invocation, Runner, System};
use host::netns::{DIRECTORY, Namespace, Sysfs, list};
use host::sysctl;
use nix::unistd::Pid;

#[test]
fn a_created_namespace_is_one_for_ip_netns_and_goes_by_delete() {
    let place = Place::new("create");
    assert!(list().unwrap().contains(&place.name().to_owned()));
    let output =
        Command::new("ip").args(["netns", "exec", place.name(), "ls", "/sys/class/net"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "lo", "{output:?}");
    let inode = fs::metadata(place.namespace.path().unwrap());
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&inode.unwrap()), place.namespace.inode());
    let again = Namespace::create(place.name()).unwrap_err();
    assert_eq!(again.errno(), Some(libc::EEXIST), "{again}");
    Namespace::delete(place.name()).unwrap();
    assert!(!Namespace::exists(place.name()));
    Namespace::delete(place.name()).unwrap(); // and once more
    assert_eq!(Namespace::open(place.name()).unwrap_err().errno(), Some(libc::ENOENT));
}

#[test]
fn a_namespace_of_ip_netns_is_one_for_us() {
    let place = Place::new("foreign");
    Namespace::delete(place.name()).unwrap();
    assert!(Command::new("ip").args(["netns", "add", place.name()]).status().unwrap().success());
    let opened = Namespace::open(place.name()).unwrap();
    assert!(!opened.is(&Namespace::current().unwrap()));
    assert!(!opened.is(&place.namespace), "the old one lives on in our handle only");
    assert_eq!(opened.run(|| Namespace::current().unwrap().inode()).unwrap(), opened.inode());
}

#[test]
fn what_a_crash_left_is_named_and_cleaned() {
    let place = Place::new("crash");
    Namespace::delete(place.name()).unwrap();
    let path = format!("{DIRECTORY}/{}", place.name());
    fs::write(&path, "").unwrap();
    let error = Namespace::open(place.name()).unwrap_err();
    assert!(error.to_string().contains("left by a crash"), "{error}");
    assert_eq!(Namespace::create(place.name()).unwrap_err().errno(), Some(libc::EEXIST));
    Namespace::delete(place.name()).unwrap();
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn a_namespace_that_is_mounted_twice_is_deleted_whole() {
    let place = Place::new("twice");
    let path = place.namespace.path().unwrap();
    nix::mount::mount(Some(&path), &path, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>).unwrap();
    Namespace::delete(place.name()).unwrap();
    assert!(!path.exists());
}

#[test]
fn many_can_be_created_at_once() {
    let places: Vec<Place> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|i| scope.spawn(move || Place::new(&format!("many{i}")))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let directories = mounts.lines().filter(|l| l.split(' ').nth(4) == Some(DIRECTORY)).count();
    assert!(directories <= 1, "{DIRECTORY} is mounted {directories} times");
    let mut inodes: Vec<u64> = places.iter().map(|p| p.namespace.inode()).collect();
    inodes.dedup();
    assert_eq!(inodes.len(), 16);
}

#[test]
fn the_callers_thread_stays_where_it_is() {
    let place = Place::new("stay");
    let before = Namespace::current().unwrap();
    place.namespace.run(|| ()).unwrap();
    assert!(Namespace::current().unwrap().is(&before));
    assert_eq!(place.namespace.name(), Some(place.name()));
    assert_eq!(before.name(), None);
}

#[test]
fn settings_are_those_of_the_namespace() {
    let place = Place::new("sysctl");
    let outside = sysctl::read("net/ipv4/ip_forward").unwrap();
    place
        .namespace
        .run(|| {
            sysctl::write("net/ipv4/ip_forward", "0").unwrap();
            assert!(sysctl::ensure("net/ipv4/ip_forward", "1").unwrap());
            assert!(!sysctl::ensure("net/ipv4/ip_forward", "1").unwrap());
            assert_eq!(sysctl::read("net/ipv4/ip_forward").unwrap(), "1");
            let error = sysctl::write("net/ipv4/ip_forward", "perhaps").unwrap_err();
            assert_eq!(error.errno(), Some(libc::EINVAL), "{error}");
        })
        .unwrap();
    assert_eq!(sysctl::read("net/ipv4/ip_forward").unwrap(), outside);
}

#[test]
fn commands_run_inside() {
    let place = Place::new("command");
    let links = |sysfs| {
        let output = place.namespace.command_with("ls", sysfs).arg("/sys/class/net").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(links(Sysfs::Remount), "lo\n");
    let ours: String =
        Command::new("ls").arg("/sys/class/net").output().unwrap().stdout.escape_ascii().to_string();
    assert_eq!(links(Sysfs::Keep).escape_default().to_string(), ours);
    assert_eq!(place.ask("ip", &["-br", "link"]).split_whitespace().next(), Some("lo"));
    let run =
        System.run(&Invocation::new("readlink", ["/proc/self/ns/net"]).inside(&place.namespace)).unwrap();
    assert_eq!(run.text().trim(), format!("net:[{}]", place.namespace.inode()));
}

#[test]
fn a_new_sysfs_keeps_what_is_mounted_in_the_old_one_and_stays_private() {
    let place = Place::new("sysfs");
    let below = |text: &str| {
        let lines = text.lines().filter_map(|l| l.split(' ').nth(4)).filter(|p| p.starts_with("/sys/fs/"));
        let mut points: Vec<String> = lines.map(str::to_owned).collect();
        points.sort();
        points.dedup();
        points
    };
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let output =
        place.namespace.command_with("cat", Sysfs::Remount).arg("/proc/self/mountinfo").output().unwrap();
    let inside = String::from_utf8(output.stdout).unwrap();
    assert_eq!(below(&inside), below(&before));
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(after.matches(" - sysfs ").count(), before.matches(" - sysfs ").count());
}

#[test]
fn processes_inside_are_found_and_ours_is_not() {
    let place = Place::new("pids");
    assert_eq!(place.namespace.pids().unwrap(), []);
    let mut child = place.namespace.command("sleep").arg("600").spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    place.namespace.run(|| assert_eq!(place.namespace.pids().unwrap(), [pid])).unwrap();
    assert!(Namespace::of_process(pid).unwrap().is(&place.namespace));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.namespace.pids().unwrap(), []);
}

const HELPER: &str = "WEFT_TEST_NAMESPACE";

/// Not a test by itself: the process that [`a_process_with_one_thread_inside_is_found`] starts.
#[test]
fn helper_with_one_thread_inside() {
    let Ok(name) = std::env::var(HELPER) else { return };
    let namespace = Namespace::open(&name).unwrap();
    namespace
        .run(|| {
            println!("\ninside");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap(); // until our parent lets go
        })
        .unwrap();
}

#[test]
fn a_process_with_one_thread_inside_is_found() {
    let place = Place::new("thread");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_with_one_thread_inside", "--nocapture"])
        .env(HELPER, place.name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "inside"));
    assert!(!Namespace::of_process(pid).unwrap().is(&place.namespace), "its main thread is outside");
    assert_eq!(place.namespace.pids().unwrap(), [pid]);
    drop(child.stdin.take());
    let end = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
}

const FRESH: &str = "WEFT_TEST_FRESH_RUN";

/// Not a test by itself: the process that [`the_directory_is_prepared_where_there_is_none`] starts.
#[test]
fn helper_with_an_empty_run() {
    if std::env::var_os(FRESH).is_none() {
        return;
    }
    let mounts = || {
        let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = all.lines().filter(|l| l.split(' ').nth(4) == Some(DIRECTORY));
        here.map(str::to_owned).collect::<Vec<String>>()
    };
    let hidden = mounts().len(); // the machine's own, below our /run
    assert!(!fs::exists(DIRECTORY).unwrap());
    assert!(list().unwrap().is_empty());
    Namespace::create("one").unwrap();
    Namespace::create("two").unwrap();
    assert_eq!(list().unwrap(), ["one", "two"]);
    let mounts = mounts();
    assert_eq!(mounts.len(), hidden + 1, "{mounts:?}");
    assert!(mounts[hidden].contains(" shared:"), "{mounts:?}");
    assert!(Command::new("ip").args(["netns", "exec", "one", "true"]).status().unwrap().success());
    Namespace::delete("one").unwrap();
    Namespace::delete("two").unwrap();
    assert!(list().unwrap().is_empty());
}

#[test]
fn the_directory_is_prepared_where_there_is_none() {
    let test = std::env::current_exe().unwrap();
    let script = "mount -t tmpfs none /run && exec \"$0\" --exact helper_with_an_empty_run --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(test)
        .env(FRESH, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "it ran");
}
