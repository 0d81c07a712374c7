//! The tree's own rules: who may know whom, and that the documents speak the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// Tier of each package, as ARCHITECTURE.md has it. Arrows only point down.
const TIERS: [(&str, u8); 26] = [
    ("apiclient-core", 0),
    ("goflags", 0),
    ("flanneld-core", 1),
    ("proxy-core", 1),
    ("control-schema", 1),
    ("control-core", 1),
    ("control-scheduler-core", 1),
    ("control-controllers-core", 1),
    ("control-store", 2),
    ("control-pki", 2),
    ("control-serving", 2),
    ("host", 2),
    ("ebpf", 2),
    ("telemetry", 2),
    ("etcd", 2),
    ("apiclient", 2),
    ("flanneld", 3),
    ("proxy", 3),
    ("control-apiserver", 3),
    ("control-scheduler", 3),
    ("control-controllers", 3),
    ("lab", 4),
    ("originals", 4),
    ("bench", 4),
    ("weft", 5),
    ("tests", 5),
];

/// Who may know another package of the same tier.
const BESIDE: [(&str, &str); 9] = [
    ("bench", "lab"),
    ("bench", "originals"),
    ("control-core", "control-schema"),
    ("control-scheduler-core", "control-core"),
    ("control-controllers-core", "control-core"),
    ("control-store", "etcd"),
    ("control-serving", "apiclient"),
    ("control-serving", "control-pki"),
    ("control-serving", "telemetry"),
];

/// Who may know another package of the same tier in its tests, which start etcd.
const BESIDE_IN_TESTS: [(&str, &str); 2] = [("control-store", "host"), ("etcd", "host")];

/// Crates that only one package may use.
const EXCLUSIVE: [(&str, &str); 6] = [
    ("aya", "ebpf"),
    ("rtnetlink", "host"),
    ("netlink-packet-route", "host"),
    ("netlink-packet-core", "host"),
    ("netlink-sys", "host"),
    ("etcd-client", "etcd"),
];

struct Package {
    name: String,
    folder: PathBuf,
    /// Name and whether it is for tests only.
    dependencies: Vec<(String, bool)>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let dependency = |found: &Value| {
        let name = found["name"].as_str().expect("a dependency has a name").to_owned();
        (name, found["kind"].as_str() == Some("dev"))
    };
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| Package {
            name: package["name"].as_str().expect("a package has a name").to_owned(),
            folder: Path::new(package["manifest_path"].as_str().expect("a file")).with_file_name(""),
            dependencies: package["dependencies"]
                .as_array()
                .expect("a list")
                .iter()
                .map(dependency)
                .collect(),
        })
        .collect()
}

#[test]
fn arrows_between_packages_only_point_down() {
    let tiers = BTreeMap::from(TIERS);
    let packages = packages();
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, tiers.keys().copied().collect(), "every package has a tier in this test");
    for package in &packages {
        for (dependency, dev) in
            // A package may ask its own tests for a feature of itself.
            package
                .dependencies
                .iter()
                .filter(|(name, _)| *name != package.name && tiers.contains_key(name.as_str()))
        {
            let (from, to) = (tiers[package.name.as_str()], tiers[dependency.as_str()]);
            let pair = (package.name.as_str(), dependency.as_str());
            let beside = BESIDE.contains(&pair) || *dev && BESIDE_IN_TESTS.contains(&pair);
            assert!(
                from > to || beside,
                "{} (tier {from}) may not know {dependency} (tier {to})",
                package.name
            );
        }
    }
}

#[test]
fn cores_are_pure() {
    let impure = ["tokio", "nix", "libc", "rand", "socket2", "host", "ebpf", "telemetry", "tracing"];
    for package in packages().iter().filter(|package| package.name.ends_with("-core")) {
        let found: Vec<_> = package
            .dependencies
            .iter()
            .filter(|(name, dev)| !dev && impure.contains(&name.as_str()))
            .collect();
        assert!(found.is_empty(), "{} uses {found:?}", package.name);
    }
}

#[test]
fn each_window_to_the_kernel_has_one_owner() {
    for package in &packages() {
        for (dependency, dev) in &package.dependencies {
            let owner = EXCLUSIVE.iter().find(|(name, _)| name == dependency).map(|(_, owner)| *owner);
            // The black-box tests may speak to etcd themselves.
            let witness = *dev || package.name == "tests";
            assert!(
                witness || owner.is_none_or(|owner| owner == package.name),
                "{} uses {dependency}, which is {}'s",
                package.name,
                owner.unwrap_or_default()
            );
        }
    }
}

/// Every file under a folder with this ending, leaving out what is built.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder's entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", ".git", "peers"].contains(&name.as_str()) {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

/// Modules that may name one another, though they stand side by side, and why.
const CIRCLES: [(&str, &str, &str); 6] = [
    // Each backend's part of the network configuration has the type of that backend's own module.
    ("flanneld-core", "config", "overlay"),
    // An option is one of the modes; a mode is opened with all options.
    ("proxy", "options", "modes"),
    // A pod's selector is asked about a node; a node counts its pods.
    ("control-scheduler-core", "pod", "node"),
    // What is wrong with a pod's volumes is one of the filters' reasons.
    ("control-scheduler-core", "volumes", "filters"),
    // What a world holds of volumes and budgets is of these modules' types; they decide about a world.
    ("control-scheduler-core", "world", "volumes"),
    ("control-scheduler-core", "world", "preemption"),
];

/// The modules at the top of a package that code names: by `crate::`, or by as many `super::` as lead there.
fn named(code: &str, depth: usize) -> BTreeSet<String> {
    let roots = ["crate::".to_owned(), "super::".repeat(depth)];
    let behind = roots.iter().flat_map(|root| code.split(root.as_str()).skip(1));
    let names = behind.flat_map(|rest| match rest.strip_prefix('{') {
        Some(several) => several.split('}').next().unwrap_or_default().split(',').collect(),
        None => vec![rest],
    });
    let word =
        |text: &str| text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
    names.filter_map(word).collect()
}

/// Which modules at the top of a package name which others. Tests do not count.
fn graph(package: &Package) -> BTreeMap<String, BTreeSet<String>> {
    let (source, mut found) = (package.folder.join("src"), Vec::new());
    files(&source, ".rs", &mut found);
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in found {
        let place = path.strip_prefix(&source).expect("below src").with_extension("");
        let mut parts: Vec<_> = place.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        parts.retain(|part| part != "mod");
        let top = parts[0].clone();
        if ["lib", "main"].contains(&&*top) || parts.iter().any(|part| part == "tests") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        // Tests inside a file stand at its end.
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let mut known = named(&code, parts.len());
        known.remove(&top);
        graph.entry(top).or_default().extend(known);
    }
    graph
}

#[test]
fn modules_at_the_top_of_a_package_do_not_know_one_another_in_circles() {
    for package in packages() {
        let mut graph = graph(&package);
        for (_, from, to) in CIRCLES.iter().filter(|(name, ..)| *name == package.name) {
            let known = graph.get_mut(*from).expect("a module");
            assert!(
                known.remove(*to),
                "{} is no exception any more: {from} does not name {to}",
                package.name
            );
        }
        // Who knows nobody that is left, or is known by nobody, is in no circle.
        while let Some(outside) = graph.iter().find_map(|(module, known)| {
            let knows = known.iter().any(|other| graph.contains_key(other));
            let is_known = graph.values().any(|known| known.contains(module));
            (!knows || !is_known).then(|| module.clone())
        }) {
            graph.remove(&outside);
        }
        let modules: BTreeSet<&String> = graph.keys().collect();
        assert!(modules.is_empty(), "{}: {modules:?} know one another in a circle: {graph:?}", package.name);
    }
}

/// Fixtures of tests, whose output the test harness catches, and examples.
const MAY_PRINT: [&str; 7] = [
    "lab/src/scratch.rs",
    "originals/src/control_plane.rs",
    "proxy/src/cases/mod.rs",
    "ebpf/examples/overlay.rs",
    "control/schema/examples/timing.rs",
    "control/store/examples/measure.rs",
    "control/scheduler/core/examples/timing.rs",
];

#[test]
fn nothing_prints_with_macros_that_panic_on_a_full_or_closed_output() {
    let mut sources = Vec::new();
    files(&root(), ".rs", &mut sources);
    let mut found = Vec::new();
    for path in sources {
        let place = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        let for_tests = place.split('/').any(|part| part == "tests" || part == "build.rs" || part == "fuzz");
        if for_tests || MAY_PRINT.contains(&&*place) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        // Tests inside a file stand at its end.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (nth, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if ["print!(", "println!("].iter().any(|call| line.contains(call)) {
                found.push(format!("{place}:{}: {}", nth + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "use telemetry's put!, say! and note!:\n{}", found.join("\n"));
}

/// The names of all test functions in the tree.
fn tests() -> BTreeSet<String> {
    let mut sources = Vec::new();
    files(&root(), ".rs", &mut sources);
    let mut names = BTreeSet::new();
    for source in sources {
        let text = fs::read_to_string(&source).expect("a source file is text");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if !line.trim_start().starts_with("#[test]")
                && !line.contains("::test]")
                && !line.contains("::test(")
            {
                continue;
            }
            let name = lines.by_ref().find_map(|line| {
                let (_, rest) = line.split_once("fn ")?;
                Some(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?.to_owned())
            });
            names.extend(name);
        }
    }
    names
}

/// The longest statement of behaviour, in characters.
const STATEMENT: usize = 160;

/// The rows of a document's tables, `| statement | tests |`, without their heads. What is meant to differ from the original
/// has tables of its own, `| differs | why |`.
fn statements(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let mut differs = false;
    let rows = text.lines().filter(move |line| {
        differs = line.starts_with('|') && (differs || *line == "| differs | why |");
        !differs
    });
    let rows = rows.filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | "));
    let rows = rows.filter(|row| *row != ("statement", "tests"));
    rows.map(|(statement, tests)| (statement, tests.split('`').skip(1).step_by(2).collect()))
}

#[test]
fn every_statement_of_behaviour_names_a_test_that_exists() {
    let tests = tests();
    let mut documents = Vec::new();
    files(&root().join("docs/behaviour"), ".md", &mut documents);
    assert!(!documents.is_empty(), "docs/behaviour has documents");
    let mut wrong = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document is text");
        let name = document.display();
        wrong
            .extend(text.lines().filter(|line| line.starts_with("- ")).map(|line| format!("no row: {line}")));
        for (statement, named) in statements(&text) {
            if named.is_empty() || named.iter().any(|test| !tests.contains(*test)) {
                wrong.push(format!("{name}: without an existing test: {statement} ({named:?})"));
            }
            let length = statement.chars().count();
            if length > STATEMENT {
                wrong.push(format!("{name}: {length} characters: {statement}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn documents_link_to_files_that_exist() {
    let mut documents = Vec::new();
    files(&root(), ".md", &mut documents);
    let mut broken = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document is text");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or(target);
            if !document.parent().expect("a document is in a folder").join(file).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn scripts_are_well_formed_and_executable() {
    use std::os::unix::fs::PermissionsExt;
    for name in [
        "scripts/setup",
        "scripts/lab",
        "scripts/test",
        "scripts/peers",
        "scripts/compare",
        "scripts/kernels",
        "scripts/conformance",
        "scripts/release",
        "scripts/audit",
        ".ci/run",
    ] {
        let path = root().join(name);
        let mode = fs::metadata(&path).unwrap_or_else(|error| panic!("{name}: {error}")).permissions().mode();
        assert!(mode & 0o111 != 0, "{name} is executable");
        let checked = Command::new("bash").arg("-n").arg(&path).status().expect("bash runs");
        assert!(checked.success(), "{name} parses");
    }
}

/// The specs of a list of Kubernetes' conformance tests, each with what the remark above it says.
fn specs(list: &str) -> Vec<(String, String)> {
    let path = root().join("tests/conformance").join(list);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut remark, mut specs) = (String::new(), Vec::new());
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(words) => remark = format!("{remark} {words}"),
            None if line.is_empty() => remark.clear(),
            None => specs.push((line.to_owned(), remark.trim().to_owned())),
        }
    }
    specs
}

#[test]
fn a_conformance_spec_stands_in_one_list_and_a_failure_has_a_reason() {
    let (passes, fails) = (specs("passes.txt"), specs("fails.txt"));
    let names: Vec<&str> = passes.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.is_sorted(), "passes.txt is in the order of `LC_ALL=C sort`");
    let mut seen = BTreeSet::new();
    for (name, remark) in passes.iter().chain(&fails) {
        assert!(name.starts_with("[sig-") && name.ends_with("[Conformance]"), "no name of a spec: {name}");
        assert!(seen.insert(name), "twice: {name}");
        assert!(!fails.iter().any(|(other, _)| other == name) || !remark.is_empty(), "no reason: {name}");
    }
}
