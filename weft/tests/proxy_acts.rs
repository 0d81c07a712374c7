//! `weft proxy` as a program that is configured: its one-time acts, and the file that it was started with.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::unistd::Pid;

const WEFT: &str = env!("CARGO_BIN_EXE_weft");

/// How long a test waits for what must happen soon.
const DEADLINE: Duration = Duration::from_secs(60);

/// A namespace that goes with its value.
struct Place {
    space: Namespace,
    name: String,
}

impl Place {
    fn new(tag: &str) -> Self {
        let name = format!("weft-acts-{tag}-{}", Pid::this());
        Self { space: Namespace::create(&name).expect("these tests need root"), name }
    }

    fn weft(&self, arguments: &[&str]) -> Command {
        let mut command = self.space.command(WEFT);
        command.arg("proxy").args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    fn sysctl(&self, key: &str) -> String {
        self.space.run(|| host::sysctl::read(key)).unwrap().unwrap().trim().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Namespace::delete(&self.name);
    }
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn init_only_sets_what_needs_root_and_ends() {
    let place = Place::new("init");
    let timeout = "net/netfilter/nf_conntrack_tcp_timeout_established";
    assert_ne!(place.sysctl(timeout), "54321");
    let mut command = place.weft(&[
        "--init-only",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=54321s",
    ]);
    done(command.arg("--oom-score-adj=0"));
    assert_eq!(place.sysctl(timeout), "54321");
    let tables = place.space.command("nft").args(["list", "tables"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&tables.stdout), "", "it writes no rules");
}

/// Files in the place of the kernel's, in a mount namespace: what is the machine's own must not change by a test.
#[test]
fn a_higher_limit_of_connections_widens_their_table() {
    let place = Place::new("hash");
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (max, buckets) = (file("max", "1000\n"), file("buckets", "16384\n"));
    let script = "mount --bind \"$1\" /proc/sys/net/netfilter/nf_conntrack_max
                  mount --bind \"$2\" /sys/module/nf_conntrack/parameters/hashsize; shift 2; exec \"$@\"";
    // A quarter as many buckets as connections, unless there are more already.
    for (least, have, want) in [("400000", "16384\n", "100000"), ("8000", "16384\n", "16384\n")] {
        fs::write(&buckets, have).unwrap();
        let flags = ["--init-only", "--conntrack-max-per-core=1", "--oom-score-adj=0"];
        let mut command = place.space.command("unshare");
        command.args(["--mount", "sh", "-ec", script, "sh"]).args([&max, &buckets]).args([WEFT, "proxy"]);
        done(command.args(flags).arg(format!("--conntrack-min={least}")));
        assert_eq!(fs::read_to_string(&max).unwrap().trim(), least);
        assert_eq!(fs::read_to_string(&buckets).unwrap(), want);
    }
}

#[test]
fn a_written_configuration_is_one_to_start_with() {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).display().to_string();
    let (first, second) = (path("first"), path("second"));
    let flags =
        ["--proxy-mode=iptables", "--cluster-cidr=10.244.0.0/16,fd00::/56", "--masquerade-all", "-v=3"];
    done(Command::new(WEFT).arg("proxy").args(flags).arg(format!("--write-config-to={first}")));
    let from = format!("--config={first}");
    done(Command::new(WEFT).args(["proxy", &from, &format!("--write-config-to={second}")]));
    let text = fs::read_to_string(&first).unwrap();
    assert!(text.contains("mode: iptables") && text.contains("10.244.0.0/16,fd00::/56"), "{text}");
    assert_eq!(text, fs::read_to_string(&second).unwrap());
}

struct Running {
    child: Child,
    log: std::path::PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn until<T>(&mut self, what: &str, look: impl Fn(&mut Self) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < end, "{what} never came:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn until_said(&mut self, words: &str, times: usize) {
        self.until(words, |this| (this.log().matches(words).count() >= times).then_some(()));
    }
}

fn write(path: &Path, mode: &str, more: &str) {
    let head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
    // As every careful writer does, and the kubelet.
    let aside = path.with_extension("new");
    fs::write(&aside, format!("{head}mode: {mode}\nconntrack:\n  maxPerCore: 0\noomScoreAdj: 0\n{more}"))
        .unwrap();
    fs::rename(aside, path).unwrap();
}

#[test]
fn a_change_of_the_configuration_file_ends_the_proxy_and_a_useless_one_does_not() {
    let place = Place::new("file");
    let files = tempfile::tempdir().unwrap();
    let (config, objects, log) =
        (files.path().join("config.yaml"), files.path().join("objects"), files.path().join("log"));
    fs::create_dir(&objects).unwrap();
    write(&config, "nftables", "");
    let output = File::create(&log).unwrap();
    let flags = [format!("--config={}", config.display()), format!("--feed-dir={}", objects.display())];
    let mut command = place.weft(&[]);
    command.args(flags).stdout(output.try_clone().unwrap()).stderr(output);
    let mut proxy = Running { child: command.spawn().unwrap(), log };
    proxy.until_said("ready services=0", 1);
    write(&config, "nonsense", "");
    proxy.until_said("is of no use: going on as before", 1);
    // The same by other words, and then another useless one, by which it is known that the former was read.
    write(&config, "nftables", "# a remark\n");
    write(&config, "nftables", "colour: blue\n");
    proxy.until_said("colour", 1);
    assert!(proxy.child.try_wait().unwrap().is_none(), "{}", proxy.log());
    write(&config, "nftables", "clusterCIDR: 10.244.0.0/16\n");
    let status = proxy.until("the end", |this| this.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(1), "{}", proxy.log());
    assert!(proxy.log().contains("config.yaml has changed: ending"), "{}", proxy.log());
    let tables = place.space.command("nft").args(["list", "tables"]).output().unwrap();
    assert!(String::from_utf8_lossy(&tables.stdout).contains("weft-proxy"), "services go on");
}
