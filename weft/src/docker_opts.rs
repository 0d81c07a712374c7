//! `weft docker-opts`: the command around `flanneld_core::docker_opts`, with the flags of `mk-docker-opts.sh`.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use flanneld_core::docker_opts::{self, Options};
use flanneld_core::subnet_env::Earlier;
use ipnet::Ipv4Net;

/// Write options for the Docker daemon from the file that flanneld leaves
///
/// Takes the place of flannel's mk-docker-opts.sh, with its flags. Docker's unit reads the result, for example
/// with `EnvironmentFile=/run/docker_opts.env` and `ExecStart=/usr/bin/dockerd $DOCKER_OPTS`.
#[derive(Debug, Parser)]
#[command(name = "weft docker-opts", version)]
struct Cli {
    /// The file that flanneld wrote
    #[arg(short = 'f', value_name = "FILE", default_value = "/run/flannel/subnet.env")]
    subnet_env: PathBuf,
    /// The file to write
    #[arg(short = 'd', value_name = "FILE", default_value = "/run/docker_opts.env")]
    output: PathBuf,
    /// Write each option as a variable of its own, such as DOCKER_OPT_MTU
    #[arg(short = 'i')]
    individual: bool,
    /// Write all options into one variable (without -i and -c: both)
    #[arg(short = 'c')]
    combined: bool,
    /// Leave out --ip-masq, which old versions of Docker do not know
    #[arg(short = 'm')]
    no_ip_masq: bool,
    /// Name of the one variable
    #[arg(short = 'k', value_name = "NAME", default_value = "DOCKER_OPTS")]
    key: String,
}

/// The command as a program: arguments (without its name) to exit code.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let name = OsString::from("weft docker-opts");
    let cli = match Cli::try_parse_from(std::iter::once(&name).chain(arguments)) {
        Ok(cli) => cli,
        Err(answer) => return crate::usage::answer(&answer),
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::note!("weft docker-opts: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    // As the script: without the file Docker gets its own defaults.
    let text = match fs::read_to_string(&cli.subnet_env) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", cli.subnet_env.display())),
    };
    let options = Options {
        key: cli.key.clone(),
        ip_masq: !cli.no_ip_masq,
        environment: std::env::vars().collect(),
        ..Options::from_flags(cli.individual, cli.combined)
    };
    let output = docker_opts::render(&text, &options)?;
    fs::write(&cli.output, output).with_context(|| format!("cannot write {}", cli.output.display()))?;
    let routes = fs::read_to_string("/proc/net/route").context("cannot read the routes of this host")?;
    if let Some(subnet) = Earlier::parse(&text).subnet
        && let Some(gateway) = gateway_to(subnet, &routes)
    {
        bail!(
            "your routing table already contains {subnet} via {gateway}: another host has this subnet. Remove the \
             route, or stop flanneld, delete {}, and start it again for another subnet",
            cli.subnet_env.display()
        );
    }
    Ok(())
}

/// The gateway of a route to exactly this subnet, in the text of `/proc/net/route`: name of the interface, then
/// destination, gateway, flags, three counters and the mask; addresses in hexadecimal, in the byte order of
/// the machine.
fn gateway_to(subnet: Ipv4Net, routes: &str) -> Option<std::net::Ipv4Addr> {
    let address = |text: &str| u32::from_str_radix(text, 16).ok().map(|raw| raw.to_ne_bytes().into());
    routes.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (destination, gateway, mask) = (*fields.get(1)?, *fields.get(2)?, *fields.get(7)?);
        let here = address(destination)? == subnet.network() && address(mask)? == subnet.netmask();
        address(gateway).filter(|gateway: &std::net::Ipv4Addr| here && !gateway.is_unspecified())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
        eth0\t0002050A\t020200C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        docker0\t0001050A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn only_a_route_by_a_gateway_stands_in_the_way() {
        let gateway = gateway_to("10.5.2.0/24".parse().unwrap(), ROUTES);
        assert_eq!(gateway, Some([192, 0, 2, 2].into()));
        assert_eq!(gateway_to("10.5.1.0/24".parse().unwrap(), ROUTES), None);
        assert_eq!(gateway_to("10.5.0.0/16".parse().unwrap(), ROUTES), None);
    }
}
