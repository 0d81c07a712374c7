//! Options for the Docker daemon out of `subnet.env`: what flannel's `mk-docker-opts.sh` does.
//!
//! Begin at [`render`]. The check for a route in the way, the last thing that the script does, belongs to the shell.

use std::collections::BTreeMap;

use crate::subnet_env::{assignments, is_name};

/// What to write. [`Options::default`] is what the script does without flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Each option as a variable of its own (`-i`).
    pub individual: bool,
    /// All options in one variable (`-c`).
    pub combined: bool,
    /// The name of that variable (`-k`).
    pub key: String,
    /// Whether to write `--ip-masq` (`-m` says no, for a Docker that does not know it).
    pub ip_masq: bool,
    /// The environment of the caller: `DOCKER_OPT_*` in it are written too, and what is in the combined variable
    /// already stays in front.
    pub environment: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            individual: true,
            combined: true,
            key: "DOCKER_OPTS".to_owned(),
            ip_masq: true,
            environment: BTreeMap::new(),
        }
    }
}

impl Options {
    /// The flags of the script: with neither `-i` nor `-c` it writes both.
    pub fn from_flags(individual: bool, combined: bool) -> Self {
        let both = !individual && !combined;
        Self { individual: individual || both, combined: combined || both, ..Self::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerOptsError {
    #[error("FLANNEL_IPMASQ is {0:?}, legal is true or false; let flanneld write subnet.env again")]
    IpMasq(String),
    #[error("{0:?} cannot be the name of a variable; take letters, digits and underscores")]
    Key(String),
    #[error("{name} is {value:?}, which cannot stand between double quotes; correct it where it is set")]
    Unquotable { name: String, value: String },
}

/// Renders the file that Docker's unit reads. `subnet_env` is the text of `subnet.env`, empty where there is none.
///
/// # Errors
///
/// If `FLANNEL_IPMASQ` is neither true nor false, or something would break the quoting of the file.
pub fn render(subnet_env: &str, options: &Options) -> Result<String, DockerOptsError> {
    if !is_name(&options.key) {
        return Err(DockerOptsError::Key(options.key.clone()));
    }
    let mut variables = options.environment.clone();
    variables.extend(assignments(subnet_env));
    let derived = derive(&variables, options.ip_masq)?;
    variables.extend(derived);

    let individual: Vec<(&String, &String)> =
        variables.iter().filter(|(name, _)| name.starts_with("DOCKER_OPT_")).collect();
    let mut out = String::new();
    if options.individual {
        for (name, value) in &individual {
            out += &assignment(name, value)?;
        }
    }
    if options.combined {
        // The script's own spaces: one behind what was there, one in front of each option.
        let before = variables.get(&options.key).filter(|value| !value.is_empty());
        let mut all = before.map(|value| format!("{value} ")).unwrap_or_default();
        for (_, value) in &individual {
            all += &format!(" {value}");
        }
        out += &assignment(&options.key, &all)?;
    }
    Ok(out)
}

/// The options that follow from flannel's variables. An empty variable is an absent one.
fn derive(
    variables: &BTreeMap<String, String>,
    ip_masq: bool,
) -> Result<Vec<(String, String)>, DockerOptsError> {
    let get = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    let mut derived = Vec::new();
    if let Some(subnet) = get("FLANNEL_SUBNET") {
        derived.push(("DOCKER_OPT_BIP".to_owned(), format!("--bip={subnet}")));
    }
    if let Some(value) = get("FLANNEL_IPMASQ").filter(|_| ip_masq) {
        // Docker masquerades where the daemon does not.
        let docker = match value.as_str() {
            "true" => false,
            "false" => true,
            _ => return Err(DockerOptsError::IpMasq(value.clone())),
        };
        derived.push(("DOCKER_OPT_IPMASQ".to_owned(), format!("--ip-masq={docker}")));
    }
    if let Some(mtu) = get("FLANNEL_MTU") {
        derived.push(("DOCKER_OPT_MTU".to_owned(), format!("--mtu={mtu}")));
    }
    Ok(derived)
}

fn assignment(name: &str, value: &str) -> Result<String, DockerOptsError> {
    if value.contains(['"', '\\', '$', '`', '\n']) {
        return Err(DockerOptsError::Unquotable { name: name.to_owned(), value: value.to_owned() });
    }
    Ok(format!("{name}=\"{value}\"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// flannel's `dist/sample_subnet.env`.
    const SAMPLE: &str =
        "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.74.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n";

    fn environment(pairs: &[(&str, &str)]) -> Options {
        let environment = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Options { environment, ..Options::default() }
    }

    #[track_caller]
    fn check(options: &Options, want: &str) {
        assert_eq!(render(SAMPLE, options).unwrap(), want);
    }

    /// The cases of flannel's `dist/mk_docker_opts_test.go`.
    #[test]
    fn the_cases_of_flannel() {
        let individual = "DOCKER_OPT_BIP=\"--bip=10.1.74.1/24\"\nDOCKER_OPT_IPMASQ=\"--ip-masq=true\"\nDOCKER_OPT_MTU=\"--mtu=1472\"\n";
        let combined = "DOCKER_OPTS=\" --bip=10.1.74.1/24 --ip-masq=true --mtu=1472\"\n";
        check(&Options::from_flags(false, false), &format!("{individual}{combined}"));
        check(&Options::from_flags(true, true), &format!("{individual}{combined}"));
        check(&Options::from_flags(true, false), individual);
        check(&Options::from_flags(false, true), combined);
        let custom = Options { key: "CUSTOM_KEY".to_owned(), ..Options::default() };
        check(&custom, &format!("{individual}{}", combined.replace("DOCKER_OPTS", "CUSTOM_KEY")));
        check(
            &Options { ip_masq: false, ..Options::default() },
            "DOCKER_OPT_BIP=\"--bip=10.1.74.1/24\"\nDOCKER_OPT_MTU=\"--mtu=1472\"\n\
             DOCKER_OPTS=\" --bip=10.1.74.1/24 --mtu=1472\"\n",
        );
    }

    #[test]
    fn docker_masquerades_where_flanneld_does_not() {
        let text = SAMPLE.replace("IPMASQ=false", "IPMASQ=true");
        let combined = render(&text, &Options::from_flags(false, true)).unwrap();
        assert_eq!(combined, "DOCKER_OPTS=\" --bip=10.1.74.1/24 --ip-masq=false --mtu=1472\"\n");
    }

    #[test]
    fn what_the_environment_asks_for_is_kept() {
        let options = environment(&[
            ("DOCKER_OPTS", "-D"),
            ("DOCKER_OPT_DNS", "--dns=10.0.0.1"),
            ("DOCKER_OPT_MTU", "--mtu=9000"),
            ("PATH", "/bin"),
        ]);
        let combined = render(SAMPLE, &Options { individual: false, ..options }).unwrap();
        assert_eq!(
            combined,
            "DOCKER_OPTS=\"-D  --bip=10.1.74.1/24 --dns=10.0.0.1 --ip-masq=true --mtu=1472\"\n"
        );
    }

    #[test]
    fn without_a_subnet_there_are_no_options() {
        assert_eq!(render("", &Options::default()).unwrap(), "DOCKER_OPTS=\"\"\n");
        assert_eq!(render("FLANNEL_SUBNET=\n", &Options::from_flags(true, false)).unwrap(), "");
    }

    #[test]
    fn what_would_break_the_file_is_refused() {
        let error = render("FLANNEL_IPMASQ=maybe", &Options::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "FLANNEL_IPMASQ is \"maybe\", legal is true or false; let flanneld write subnet.env again"
        );
        for options in [
            Options { key: "A B".to_owned(), ..Options::default() },
            Options { key: String::new(), ..Options::default() },
            environment(&[("DOCKER_OPT_X", "a\"b")]),
            environment(&[("DOCKER_OPTS", "$(reboot)")]),
        ] {
            assert!(render(SAMPLE, &options).is_err(), "{options:?}");
        }
    }
}
