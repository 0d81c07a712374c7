//! Carries out the steps of a plan. Makes no choice of its own.

use host::netns::Namespace;
use host::sysctl;

use crate::error::LabError;
use crate::exec;
use crate::plan::Step;

/// Does one step.
pub fn apply(step: &Step) -> Result<(), LabError> {
    let failed = |source| LabError::Step { step: step.to_string(), source };
    match step {
        Step::Namespace(name) => {
            let namespace = Namespace::create(name).map_err(failed)?;
            ip(&namespace, "ip link set lo up")
        }
        Step::Sysctl { netns, key, value } => {
            let namespace = Namespace::open(netns).map_err(failed)?;
            namespace.run(|| sysctl::write(key, value)).and_then(|r| r).map_err(failed)
        }
        Step::Bridge { netns, .. } | Step::Address { netns, .. } | Step::Default { netns, .. } => {
            ip(&Namespace::open(netns)?, &step.to_string())
        }
        Step::Veth { a, .. } => {
            step.to_string().split("; ").try_for_each(|c| ip(&Namespace::open(&a.netns)?, c))
        }
    }
}

/// Whether a namespace has a link of this name.
pub fn has_link(namespace: &Namespace, name: &str) -> Result<bool, LabError> {
    Ok(exec::run(&exec::inside(namespace, ["ip", "link", "show", name]))?.status.success())
}

/// Removes a link, if it is there.
pub fn remove_link(namespace: &Namespace, name: &str) -> Result<(), LabError> {
    if has_link(namespace, name)? { ip(namespace, &format!("ip link delete {name}")) } else { Ok(()) }
}

fn ip(namespace: &Namespace, text: &str) -> Result<(), LabError> {
    let command = exec::inside(namespace, text.split_whitespace());
    exec::run(&command)?.ok().map(drop)
}

/// Does all of them, in order.
pub fn apply_all(steps: &[Step]) -> Result<(), LabError> {
    steps.iter().try_for_each(apply)
}

/// Whether a link is there and has all these addresses.
pub fn has_addresses(namespace: &Namespace, link: &str, want: &[ipnet::IpNet]) -> Result<bool, LabError> {
    let shown = exec::run(&exec::inside(namespace, ["ip", "-o", "address", "show", "dev", link]))?;
    let words: Vec<&str> = shown.stdout.split_whitespace().collect();
    Ok(shown.status.success() && want.iter().all(|net| words.contains(&net.to_string().as_str())))
}
