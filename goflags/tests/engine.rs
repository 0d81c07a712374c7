//! The engine with a small program of each syntax: what wins over what, in which order, and what is said.

use std::path::Path;

use goflags::{
    Error, Field, File, Flag, Former, Kind, NoEnv, Parsed, Program, Refused, Settings, Source, Syntax,
};
use serde_json::{Value, json};

const WORK: &str = "What it does";

static FILE: File = File {
    api_version: "example/v1",
    kind: "Configuration",
    flag: "config",
    fields: &[
        Field::new("mode", Kind::Text, "fast"),
        Field::new("limits.open", Kind::Int32, "64").zero_is_default(),
        Field::new("limits.labels", Kind::Map, ""),
        Field::new("limits.period", Kind::Duration, "30s"),
        Field::new("old", Kind::Switch, "false").idle("nothing is old here"),
    ],
    former: &[Former { path: "limits.max", until: "1.2", instead: "limits.open decides" }],
};

static REFUSED: &[Refused] = &[
    Refused { name: "mode", value: Some("slow"), reason: "nobody wants it", instead: "leave it out" },
    Refused { name: "remote", value: None, reason: "all is local", instead: "leave it out" },
];

static BOTH: Program = Program {
    name: "example",
    command: "weft example",
    syntax: Syntax::Pflag,
    env_prefix: Some("EXAMPLE"),
    flags: &[
        Flag::new("config", Kind::Text, "", WORK).metavar("FILE").help("The file."),
        Flag::new("mode", Kind::Text, "", WORK).sets(&["mode"]).help("How."),
        Flag::new("open", Kind::Int32, "", WORK)
            .sets(&["limits.open"])
            .with_file()
            .letter('o')
            .help("How many."),
        Flag::new("labels", Kind::Map, "", WORK).sets(&["limits.labels"]).help("Labels."),
        Flag::new("remote", Kind::Switch, "false", WORK).help("Whether."),
        Flag::new("token", Kind::Text, "", WORK).secret().ours().help("Secret."),
        Flag::new("name", Kind::Repeated, "", WORK).help("Names."),
        Flag::new("version", Kind::Text, "false", WORK).command().stands_alone().help("The version."),
        Flag::new("old", Kind::Switch, "", WORK).sets(&["old"]),
    ],
    groups: &[WORK],
    idle_group: None,
    file: Some(&FILE),
    refused: REFUSED,
    synopsis: "An example.\n",
    examples: "",
};

fn settle(args: &[&str], env: &[(&str, &str)], file: Option<Value>) -> Result<Settings, Error> {
    let Parsed::Given(given) = BOTH.parse(args)? else { panic!("no help was asked for") };
    let file = file.map(|mut file| {
        file["apiVersion"] = json!("example/v1");
        file["kind"] = json!("Configuration");
        (Path::new("/c"), vec![file])
    });
    BOTH.settle(&given, &env, file)
}

fn good(args: &[&str], env: &[(&str, &str)], file: Option<Value>) -> Settings {
    settle(args, env, file).unwrap_or_else(|error| panic!("{args:?} {env:?}: {error}"))
}

#[test]
fn the_tables_are_sound() {
    assert_eq!(BOTH.faults(), [""; 0]);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_default() {
    let env = [("EXAMPLE_MODE", "env"), ("EXAMPLE_OPEN", ""), ("EXAMPLE_VERSION", "true")];
    let settings = good(&["--remote=false"], &env, None);
    assert_eq!((settings.get("mode").text(), settings.get("mode").source), ("env", Source::Environment));
    assert_eq!(settings.get("mode").origin(), "EXAMPLE_MODE");
    assert_eq!((settings.get("limits.open").number(), settings.get("version").text()), (64, "false"));
    let settings = good(&["--mode=flag"], &env, None);
    assert_eq!((settings.get("mode").text(), settings.get("mode").source), ("flag", Source::Flag("mode")));
    let error = settle(&[], &[("EXAMPLE_OPEN", "many")], None).expect_err("no number").to_string();
    assert!(error.starts_with("EXAMPLE_OPEN=\"many\": want a whole number"), "{error}");
}

#[test]
fn a_file_decides_over_its_fields_but_for_flags_that_hold_beside_it() {
    let file =
        json!({ "mode": "file", "limits": { "open": 5, "labels": { "a": "b" }, "max": 3, "period": "90s" } });
    let settings = good(&["--mode=flag", "--open=7", "--name=x"], &[], Some(file));
    assert_eq!((settings.get("mode").text(), settings.get("mode").origin()), ("file", "/c: mode"));
    assert_eq!(settings.get("limits.open").number(), 7);
    assert_eq!(settings.get("limits.period").text(), "1m30s");
    assert_eq!(
        settings.without_effect(),
        [
            "/c: limits.max has no effect: example had it until 1.2; limits.open decides",
            "--mode is ignored: --config is given, and the file decides",
            "--name is ignored: --config is given, and the file decides",
        ]
    );
    let zero = good(&[], &[], Some(json!({ "limits": { "open": 0, "labels": null }, "old": true })));
    assert_eq!(zero.get("limits.open").number(), 64);
    assert_eq!(zero.without_effect(), ["/c: old has no effect: nothing is old here"]);
    assert_eq!(
        zero.document(),
        json!({ "apiVersion": "example/v1", "kind": "Configuration", "mode": "fast", "old": true,
                "limits": { "open": 64, "labels": {}, "period": "30s" } })
    );
}

#[test]
fn lists_and_maps_grow_and_everything_else_is_replaced() {
    let args =
        ["--labels=a=1,b=2", "--labels", "b=3", "--name=x,y", "--name", "z", "-o2", "-o=3", "--open", "4"];
    let settings = good(&args, &[("EXAMPLE_LABELS", "c=9")], None);
    assert_eq!(settings.get("limits.labels").value, json!({ "a": "1", "b": "3" }));
    assert_eq!(settings.get("name").list().collect::<Vec<_>>(), ["x,y", "z"]);
    assert_eq!(settings.get("limits.open").number(), 4);
}

#[test]
fn what_is_refused_says_so_unless_it_is_the_default() {
    for (args, said) in [
        (
            &["--mode=slow"][..],
            "--mode=\"slow\" is not supported in this release: nobody wants it. Instead: leave it out",
        ),
        (&["--remote"], "--remote=\"true\" is not supported"),
    ] {
        let error = settle(args, &[], None).expect_err(said);
        assert!(error.to_string().starts_with(said), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
    good(&["--remote=false", "--mode=fast"], &[], None);
}

#[test]
fn a_file_of_another_kind_or_with_a_misspelt_field_is_refused() {
    let read = |documents| BOTH.settle(&Vec::new(), &NoEnv, Some((Path::new("/c"), documents)));
    for (documents, said) in [
        (vec![], "/c is no Configuration: want exactly one document"),
        (vec![json!({}), json!({})], "want exactly one document"),
        (vec![json!([])], "want a map of fields"),
        (vec![json!({ "kind": "Configuration" })], "it has no apiVersion, want example/v1"),
        (vec![json!({ "apiVersion": "example/v2" })], "apiVersion is \"example/v2\", want example/v1"),
    ] {
        let error = read(documents).expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
    for (file, said) in [
        (json!({ "mod": "x" }), "/c: unknown field mod; did you mean mode?"),
        (json!({ "open": 1 }), "/c: unknown field open; did you mean limits.open?"),
        (json!({ "limits": { "opne": 1 } }), "/c: unknown field limits.opne; did you mean limits.open?"),
        (json!({ "limits": 3 }), "/c: limits=\"3\": want a map of fields"),
        (json!({ "limits": { "labels": { "a": 1 } } }), "want key=value"),
    ] {
        let error = settle(&[], &[], Some(file)).expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn no_form_of_printing_shows_what_is_secret() {
    let settings = good(&["--token=hush", "--mode=http://me:hush@host"], &[], None);
    for text in
        [settings.to_string(), format!("{settings:?}"), settings.get("token").refuse("no").to_string()]
    {
        assert!(!text.contains("hush"), "{text}");
    }
    assert!(settings.to_string().contains("mode=http://(hidden)@host"), "{settings}");
}

#[test]
fn faults_of_the_tables_are_named() {
    static WRONG: Program = Program {
        flags: &[
            Flag::new("open", Kind::Text, "", WORK).sets(&["limits.open"]).help("Text."),
            Flag::new("open", Kind::Int32, "many", "Elsewhere").help("no sentence"),
        ],
        refused: &[Refused { name: "nothing", value: None, reason: "", instead: "" }],
        ..BOTH_AGAIN
    };
    const BOTH_AGAIN: Program = Program {
        name: "example",
        command: "example",
        syntax: Syntax::Flag,
        env_prefix: None,
        flags: &[],
        groups: &[WORK],
        idle_group: None,
        file: Some(&FILE),
        refused: &[],
        synopsis: "",
        examples: "",
    };
    let said = WRONG.faults().join("\n");
    for fault in [
        "--open and the field limits.open do not agree",
        "--open is there twice",
        "--open stands below no heading of the help",
        "--open has no help of whole sentences",
        "--open: \"many\" is no default",
        "nothing is refused and not there",
    ] {
        assert!(said.contains(fault), "{fault:?} is not in\n{said}");
    }
}
