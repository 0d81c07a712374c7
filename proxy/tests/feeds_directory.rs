//! The directory feed on real files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use proxy::feeds::{self, Event, Feed, directory};
use proxy::options;
use proxy_core::cluster::{Change, Cluster};
use proxy_core::objects::Kind;
use tempfile::TempDir;

fn service(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{clusterIP: {ip}, clusterIPs: [{ip}], ports: [{{port: 80, protocol: TCP}}]}}\n"
    )
}

/// A feed and what came of it.
struct Reader {
    feed: Feed,
    cluster: Cluster,
    troubles: Vec<String>,
    events: usize,
}

impl Reader {
    async fn start(path: &Path) -> Self {
        let feed =
            feeds::start(&options::Feed::Directory(path.to_owned()), "node").await.expect("a directory");
        let mut reader = Self { feed, cluster: Cluster::default(), troubles: Vec::new(), events: 0 };
        let mut listed = Vec::new();
        while listed.len() < Kind::ALL.len() {
            if let Event::Listed(kind) = reader.step().await {
                listed.push(kind);
            }
        }
        reader
    }

    async fn step(&mut self) -> Event {
        let next = tokio::time::timeout(Duration::from_secs(60), self.feed.next()).await;
        let event = next.unwrap_or_else(|_| panic!("nothing came; {self}")).expect("the feed runs").event;
        match &event {
            Event::Change(change) => {
                self.events += 1;
                self.cluster.apply(change.clone());
            }
            Event::Trouble(trouble) => self.troubles.push(trouble.to_string()),
            Event::Listed(_) => {}
        }
        event
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let event = self.step().await;
            assert!(self.events < 1000, "{what} never came: {event:?}");
        }
    }

    fn names(&self) -> Vec<String> {
        self.cluster.services().map(|service| service.name.name.to_string()).collect()
    }

    fn address(&self, name: &str) -> String {
        let found = self.cluster.services().find(|service| &*service.name.name == name);
        found.map(|service| format!("{:?}", service.cluster_ips)).unwrap_or_default()
    }

    fn said(&self, text: &str) -> bool {
        self.troubles.iter().any(|trouble| trouble.contains(text))
    }
}

impl std::fmt::Display for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "services {:?}, troubles {:?}", self.names(), self.troubles)
    }
}

/// As careful programs write: under another name, then moved.
fn replace(dir: &TempDir, name: &str, text: &str) {
    let path = dir.path().join(".tmp-of-a-test");
    fs::write(&path, text).expect("write");
    fs::rename(&path, dir.path().join(name)).expect("rename");
}

#[tokio::test]
async fn follows_files_that_come_change_and_go() {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("a.yaml"), service("a", "10.0.0.1") + "---\n" + &service("b", "10.0.0.2"))
        .expect("write");
    fs::write(dir.path().join("notes.txt"), "no: yaml: here").expect("write");
    fs::write(dir.path().join(".hidden.yaml"), service("hidden", "10.0.0.9")).expect("write");
    let mut reader = Reader::start(dir.path()).await;
    assert_eq!(reader.names(), ["a", "b"]);

    fs::write(dir.path().join("c.yml"), service("c", "10.0.0.3")).expect("write");
    reader.until("c", |reader| reader.names() == ["a", "b", "c"]).await;
    replace(&dir, "a.yaml", &service("a", "10.0.0.7"));
    reader
        .until("a changed, b gone", |reader| {
            reader.names() == ["a", "c"] && reader.address("a").contains("10.0.0.7")
        })
        .await;
    let events = reader.events;
    replace(&dir, "a.yaml", &("# a comment\n".to_owned() + &service("a", "10.0.0.7")));
    fs::remove_file(dir.path().join("c.yml")).expect("remove");
    reader.until("c gone", |reader| reader.names() == ["a"]).await;
    assert_eq!(reader.events, events + 1, "what did not change is not sent again");
    assert!(reader.troubles.is_empty(), "{reader}");
}

#[tokio::test]
async fn reads_lists_json_and_every_kind() {
    let dir = TempDir::new().expect("a directory");
    fs::write(
        dir.path().join("all.json"),
        r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]}},
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}},
            {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}},
            {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "other"}, "spec": {"template": {}}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "other"}}]}"#,
    )
    .expect("write");
    fs::write(
        dir.path().join("slices.yaml"),
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSliceList\nitems:\n- metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\n  \
         addressType: IPv4\n  ports: [{port: 8080}]\n  endpoints: [{addresses: [10.244.0.5], conditions: {ready: true}}]\n",
    )
    .expect("write");
    let reader = Reader::start(dir.path()).await;
    assert!(reader.troubles.is_empty(), "{reader}");
    let service = reader.cluster.services().next().expect("a service");
    assert_eq!(service.name.to_string(), "default/a");
    assert_eq!(reader.cluster.slices(&service.name).count(), 1);
    assert_eq!(reader.cluster.nodes().count(), 1);
    assert_eq!(reader.cluster.service_cidrs().len(), 1);
    let loaded = directory::load(dir.path()).expect("a directory");
    assert_eq!((loaded.objects.len(), loaded.troubles.len()), (4, 0));
}

#[tokio::test]
async fn a_broken_file_keeps_what_it_held_and_a_broken_object_is_left_out() {
    let dir = TempDir::new().expect("a directory");
    replace(&dir, "a.yaml", &service("a", "10.0.0.1"));
    let mut reader = Reader::start(dir.path()).await;
    replace(&dir, "a.yaml", &(service("a", "10.0.0.2") + "---\nkind: [\n"));
    reader.until("a report", |reader| !reader.troubles.is_empty()).await;
    assert!(reader.said("a.yaml: is neither YAML nor JSON: line 6"), "{reader}");
    assert!(
        reader.said("its last good version stays (1 objects)") && reader.address("a").contains("10.0.0.1"),
        "{reader}"
    );

    let bad = "---\napiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: default}\nspec: {clusterIP: 10.0.0.5, ports: [{port: many}]}\n";
    replace(&dir, "a.yaml", &(service("a", "10.0.0.3") + bad + "---\n" + &service("c", "10.0.0.4")));
    reader.until("the good ones", |reader| reader.names() == ["a", "c"]).await;
    assert!(reader.said("left out") && reader.said("bad"), "{reader}");
    let troubles = reader.troubles.len();
    replace(&dir, "a.yaml", &(service("a", "10.0.0.6") + bad));
    reader
        .until("c gone", |reader| reader.names() == ["a"] && reader.address("a").contains("10.0.0.6"))
        .await;
    assert_eq!(reader.troubles.len(), troubles, "the same is not said twice: {reader}");
}

#[tokio::test]
async fn what_is_being_written_is_not_read() {
    use std::io::Write;
    let dir = TempDir::new().expect("a directory");
    replace(&dir, "a.yaml", &service("a", "10.0.0.1"));
    let mut reader = Reader::start(dir.path()).await;
    let mut file = fs::File::create(dir.path().join("a.yaml")).expect("truncate");
    let text = service("a", "10.0.0.2");
    let (first, second) = text.split_at(30);
    file.write_all(first.as_bytes()).expect("write");
    file.sync_all().expect("sync");
    // Something else that happens meanwhile is seen, and is no reason to read the half.
    replace(&dir, "b.yaml", &service("b", "10.0.0.3"));
    reader.until("b", |reader| reader.names() == ["a", "b"]).await;
    assert!(reader.address("a").contains("10.0.0.1"));
    file.write_all(second.as_bytes()).expect("write");
    drop(file);
    reader.until("the whole", |reader| reader.address("a").contains("10.0.0.2")).await;
    assert!(reader.troubles.is_empty(), "{reader}");
}

#[tokio::test]
async fn an_editor_that_moves_the_file_aside_deletes_nothing() {
    let dir = TempDir::new().expect("a directory");
    replace(&dir, "a.yaml", &service("a", "10.0.0.1"));
    let mut reader = Reader::start(dir.path()).await;
    fs::rename(dir.path().join("a.yaml"), dir.path().join("a.yaml~")).expect("rename");
    fs::write(dir.path().join("a.yaml"), service("a", "10.0.0.2")).expect("write");
    let changes = loop {
        if let Event::Change(change) = reader.step().await {
            break change;
        }
    };
    assert!(matches!(changes, Change::Put(_)), "{changes:?}");
    // And a move to another name is a move.
    fs::rename(dir.path().join("a.yaml"), dir.path().join("b.yaml")).expect("rename");
    replace(&dir, "z.yaml", &service("z", "10.0.0.9"));
    reader.until("z", |reader| reader.names() == ["a", "z"]).await;
    fs::remove_file(dir.path().join("b.yaml")).expect("remove");
    reader.until("a gone", |reader| reader.names() == ["z"]).await;
}

#[tokio::test]
async fn one_object_in_two_files_is_reported_and_the_first_counts() {
    let dir = TempDir::new().expect("a directory");
    replace(&dir, "b.yaml", &service("x", "10.0.0.2"));
    let mut reader = Reader::start(dir.path()).await;
    replace(&dir, "a.yaml", &service("x", "10.0.0.1"));
    reader.until("a's version", |reader| reader.address("x").contains("10.0.0.1")).await;
    assert!(reader.said("a.yaml: Service default/x is in b.yaml too, which does not count"), "{reader}");
    replace(&dir, "b.yaml", &service("x", "10.0.0.3"));
    reader
        .until("a report", |reader| reader.said("b.yaml: Service default/x is in a.yaml too, which counts"))
        .await;
    assert!(reader.address("x").contains("10.0.0.1"));
    fs::remove_file(dir.path().join("a.yaml")).expect("remove");
    reader.until("b's version", |reader| reader.address("x").contains("10.0.0.3")).await;
}

#[tokio::test]
async fn a_mounted_configmap_and_a_directory_that_goes_and_comes() {
    let top = TempDir::new().expect("a directory");
    let path = top.path().join("objects");
    for (version, ip) in [("..v1", "10.0.0.1"), ("..v2", "10.0.0.2")] {
        fs::create_dir_all(path.join(version)).expect("mkdir");
        fs::write(path.join(version).join("a.yaml"), service("a", ip)).expect("write");
    }
    std::os::unix::fs::symlink("..v1", path.join("..data")).expect("link");
    std::os::unix::fs::symlink("..data/a.yaml", path.join("a.yaml")).expect("link");
    let mut reader = Reader::start(&path).await;
    assert!(reader.address("a").contains("10.0.0.1"), "{reader}");
    std::os::unix::fs::symlink("..v2", path.join("..new")).expect("link");
    fs::rename(path.join("..new"), path.join("..data")).expect("rename");
    reader.until("v2", |reader| reader.address("a").contains("10.0.0.2")).await;

    fs::rename(&path, top.path().join("aside")).expect("rename");
    reader.until("a report", |reader| reader.said("is gone; its objects stay")).await;
    assert_eq!(reader.names(), ["a"]);
    let new = top.path().join("new");
    fs::create_dir(&new).expect("mkdir");
    fs::write(new.join("b.yaml"), service("b", "10.0.0.5")).expect("write");
    fs::rename(&new, &path).expect("rename");
    reader.until("b instead of a", |reader| reader.names() == ["b"]).await;
}

#[tokio::test]
async fn no_directory_is_an_error_at_once() {
    let error =
        feeds::start(&options::Feed::Directory("/nowhere/at/all".into()), "node").await.expect_err("none");
    assert_eq!(error.to_string(), "cannot watch the directory /nowhere/at/all; check --feed-dir");
}

#[tokio::test]
async fn what_is_not_quite_an_object_for_a_proxy_is_named_with_what_is_expected() {
    let dir = TempDir::new().expect("a directory");
    let slice = |version: &str| {
        format!(
            "apiVersion: {version}\nkind: EndpointSlice\nmetadata: {{name: a-1, labels: {{kubernetes.io/service-name: a}}}}\n\
             addressType: IPv4\nports: [{{port: 80}}]\nendpoints: [{{addresses: [10.244.0.5]}}]\n"
        )
    };
    let others = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Namespace\n";
    replace(
        &dir,
        "a.yaml",
        &(service("a", "10.0.0.1") + "---\n" + &slice("discovery.k8s.io/v1beta1") + others),
    );
    let mut reader = Reader::start(dir.path()).await;
    assert_eq!(reader.troubles.len(), 1, "what others read is no trouble: {reader}");
    assert!(
        reader.said(
            "a.yaml: line 6: a-1: left out: apiVersion of this EndpointSlice is \"discovery.k8s.io/v1beta1\", want discovery.k8s.io/v1"
        ),
        "{reader}"
    );
    replace(&dir, "b.yaml", &service("b", "10.0.0.2").replace("kind: Service", "kind: Servcie"));
    reader
        .until("a report", |reader| {
            reader.said("\"Servcie\" is not a kind that is known; did you mean Service?")
        })
        .await;
    replace(&dir, "a.yaml", &(service("a", "10.0.0.1") + "---\n" + &slice("discovery.k8s.io/v1")));
    reader
        .until("the slice", |reader| {
            reader.cluster.services().any(|service| reader.cluster.slices(&service.name).count() == 1)
        })
        .await;
    assert_eq!(reader.troubles.len(), 2, "{reader}");
}
