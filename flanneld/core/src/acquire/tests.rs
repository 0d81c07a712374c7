use std::collections::HashSet;

use super::*;
use crate::lease::{BadValue, LeaseAttrs};
use proptest::prelude::*;

const ME: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);

fn config(json: &str) -> NetworkConfig {
    NetworkConfig::parse(json).unwrap()
}

fn v4() -> NetworkConfig {
    config(r#"{"Network":"10.5.0.0/16"}"#)
}

fn dual() -> NetworkConfig {
    config(
        r#"{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}"#,
    )
}

fn stored(key: &str, public_ip: Ipv4Addr) -> Stored {
    Stored {
        subnets: key.parse().unwrap(),
        attrs: Ok(LeaseAttrs::new(public_ip)),
        reserved: false,
        written: 1,
    }
}

fn unreadable() -> BadValue {
    LeaseAttrs::from_json("{").unwrap_err()
}

fn node(previous: Previous) -> Identity {
    Identity { previous, ..Identity::new(ME) }
}

fn ask(
    config: &NetworkConfig,
    node: &Identity,
    stored: &[Stored],
    random: impl FnMut(usize) -> usize,
) -> Result<Plan, OutOfSubnets> {
    plan(config, node, &stored.iter().collect::<Vec<_>>(), random)
}

fn previous(v4: &str, v6: Option<&str>) -> Previous {
    Previous { v4: Some(v4.parse().unwrap()), v6: v6.map(|net| net.parse().unwrap()) }
}

fn decide(config: &NetworkConfig, previous: Previous, stored: &[Stored]) -> String {
    ask(config, &node(previous), stored, |_| 0).unwrap().to_string()
}

#[test]
fn our_own_lease_is_reused() {
    let all = [stored("10.5.9.0-24", OTHER), stored("10.5.7.0-24", ME)];
    assert_eq!(decide(&v4(), Previous::default(), &all), "reuse our lease 10.5.7.0-24");
    let two = [stored("10.5.7.0-24&fd00:5:0:7::-64", ME)];
    assert_eq!(decide(&dual(), Previous::default(), &two), "reuse our lease 10.5.7.0-24&fd00:5:0:7::-64");
}

/// flannel 0.28.4 cannot tell a key without an etcd lease (TTL -1) from one that has just run out, and puts a lease
/// of 24 hours on it: the reservation is gone as soon as its node stays away for a day (its issue 1329).
#[test]
fn a_reservation_stays_one() {
    let reserved = Stored { reserved: true, ..stored("10.5.7.0-24", ME) };
    let want = "take the subnet reserved for us, 10.5.7.0-24";
    assert_eq!(decide(&v4(), previous("10.5.3.0/24", None), &[reserved]), want);
}

#[test]
fn of_several_own_leases_the_previous_one_is_reused() {
    let all = [stored("10.5.7.0-24", ME), stored("10.5.8.0-24", ME), stored("10.99.0.0-24", ME)];
    assert_eq!(decide(&v4(), previous("10.5.8.0/24", None), &all), "reuse our lease 10.5.8.0-24");
    assert_eq!(decide(&v4(), Previous::default(), &all), "reuse our lease 10.5.7.0-24");
}

#[test]
fn our_own_lease_that_does_not_fit_is_deleted() {
    let narrow = config(r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.16.0","SubnetMax":"10.5.31.0"}"#);
    for (config, key) in [
        (v4(), "10.6.7.0-24"),
        (v4(), "10.5.7.0-25"),
        (v4(), "10.5.7.9-24"),
        (v4(), "10.5.0.0-24"),
        (v4(), "10.5.7.0-24&fd00:5:0:7::-64"),
        (dual(), "10.5.7.0-24"),
        (dual(), "10.5.7.0-24&fd00:6:0:7::-64"),
        (dual(), "10.5.7.0-24&fd00:5:0:7::-80"),
        (narrow, "10.5.32.0-24"),
    ] {
        let want = format!("delete our lease {key}, which does not fit the config");
        assert_eq!(decide(&config, Previous::default(), &[stored(key, ME)]), want);
    }
}

/// The node's address changed while flanneld did not run: the pods still have the subnet's addresses.
#[test]
fn a_lease_under_a_former_address_is_taken_back() {
    let former = [stored("10.5.7.0-24", OTHER)];
    let note = |written| Some(Note { subnets: former[0].subnets, written });
    let node = |note| Identity { note, ..node(previous("10.5.7.0/24", None)) };
    let plan = |note| ask(&v4(), &node(note), &former, |_| 0).unwrap().to_string();
    assert_eq!(plan(note(1)), "reuse our lease 10.5.7.0-24, which we held at 192.168.0.2");
    // Somebody wrote it since, or nothing says that it was ours.
    assert_eq!(plan(note(2)), "take a free subnet, 10.5.1.0-24");
    assert_eq!(plan(None), "take a free subnet, 10.5.1.0-24");

    // A second start at the new address finds both: the one with the pods comes first.
    let both = [stored("10.5.3.0-24", ME), former[0].clone()];
    let plan = ask(&v4(), &node(note(1)), &both, |_| 0).unwrap();
    assert_eq!(plan.to_string(), "reuse our lease 10.5.7.0-24, which we held at 192.168.0.2");
    let elsewhere = config(r#"{"Network":"10.6.0.0/16"}"#);
    let plan = ask(&elsewhere, &node(note(1)), &former, |_| 0).unwrap();
    assert_eq!(plan.to_string(), "delete our lease 10.5.7.0-24, which does not fit the config");
}

#[test]
fn a_reservation_that_does_not_fit_is_left_to_its_maker() {
    let reserved = Stored { reserved: true, ..stored("10.6.7.0-24", ME) };
    assert_eq!(decide(&v4(), Previous::default(), &[reserved]), "take a free subnet, 10.5.1.0-24");
}

#[test]
fn the_previous_subnet_is_taken_again() {
    let all = [stored("10.5.9.0-24", OTHER)];
    assert_eq!(
        decide(&v4(), previous("10.5.7.0/24", None), &all),
        "take our previous subnet again, 10.5.7.0-24"
    );
    let six = previous("10.5.7.0/24", Some("fd00:5:0:7::/64"));
    assert_eq!(decide(&dual(), six, &all), "take our previous subnet again, 10.5.7.0-24&fd00:5:0:7::-64");
    assert_eq!(decide(&v4(), six, &all), "take our previous subnet again, 10.5.7.0-24");
}

#[test]
fn a_previous_subnet_that_is_held_or_does_not_fit_is_not_taken() {
    let free = "take a free subnet, 10.5.1.0-24";
    for held in ["10.5.7.0-24", "10.5.7.128-25", "10.5.6.0-23"] {
        assert_eq!(decide(&v4(), previous("10.5.7.0/24", None), &[stored(held, OTHER)]), free);
    }
    for misfit in ["10.6.7.0/24", "10.5.7.0/25", "10.5.0.0/24"] {
        assert_eq!(decide(&v4(), previous(misfit, None), &[]), free);
    }
}

/// flannel picks a new IPv4 subnet as well, so that every pod of the node has to be made again.
#[test]
fn turning_ipv6_on_keeps_the_ipv4_subnet() {
    let had = previous("10.5.7.0/24", None);
    let own = [stored("10.5.7.0-24", ME)];
    assert_eq!(decide(&dual(), had, &own), "delete our lease 10.5.7.0-24, which does not fit the config");
    assert_eq!(decide(&dual(), had, &[]), "take a free subnet, 10.5.7.0-24&fd00:5:0:1::-64");
}

#[test]
fn a_key_with_an_unreadable_value_is_not_free() {
    let broken = Stored { attrs: Err(unreadable()), ..stored("10.5.1.0-24", ME) };
    assert_eq!(decide(&v4(), Previous::default(), &[broken]), "take a free subnet, 10.5.2.0-24");
}

/// With IPv6 only, flannel's nodes all have the public IP 0.0.0.0 and take each other's leases.
#[test]
fn a_lease_without_an_address_is_nobodys_own() {
    let unspecified = Ipv4Addr::UNSPECIFIED;
    let plan = ask(&v4(), &Identity::new(unspecified), &[stored("10.5.7.0-24", unspecified)], |_| 0);
    assert_eq!(plan.unwrap().to_string(), "take a free subnet, 10.5.1.0-24");
}

#[test]
fn the_pick_is_among_the_first_hundred_free() {
    let config = dual();
    let node = node(Previous::default());
    let mut asked = Vec::new();
    let all = [stored("10.5.1.0-24", OTHER), stored("10.5.50.0-24&fd00:5:0:2::-64", OTHER)];
    let plan = ask(&config, &node, &all, |below| {
        asked.push(below);
        below - 1
    });
    assert_eq!(plan.unwrap().to_string(), "take a free subnet, 10.5.102.0-24&fd00:5:0:65::-64");
    assert_eq!(asked, [100, 100]);

    let small = config_of_two();
    let seen: HashSet<String> =
        (0..50).map(|i| ask(&small, &node, &[], |below| i % below).unwrap().to_string()).collect();
    assert_eq!(seen.len(), 2);
}

fn config_of_two() -> NetworkConfig {
    config(r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.3.0","SubnetMax":"10.5.4.0"}"#)
}

#[test]
fn when_nothing_is_free_the_error_names_the_holders_and_the_remedies() {
    let (config, node) = (config_of_two(), node(Previous::default()));
    let all = [
        stored("10.5.3.0-24", OTHER),
        Stored { reserved: true, ..stored("10.5.4.0-25", OTHER) },
        Stored { attrs: Err(unreadable()), ..stored("10.5.4.128-25", OTHER) },
        stored("10.5.9.0-24", OTHER),
    ];
    let error = ask(&config, &node, &all, |_| 0).unwrap_err();
    insta::assert_snapshot!(error, @"out of subnets: network 10.5.0.0/16 in /24 subnets from 10.5.3.0 to 10.5.4.0 has 2, and none is free; they are held by 10.5.3.0-24 (192.168.0.2), 10.5.4.0-25 (192.168.0.2, reserved), 10.5.4.128-25 (unreadable). Delete the leases of nodes that are gone, or change the config: a larger network, a larger SubnetLen (smaller subnets), or a wider SubnetMin to SubnetMax");

    let many: Vec<Stored> = (3..=4u8)
        .flat_map(|c| (0..64u8).map(move |i| stored(&format!("10.5.{c}.{}-30", i * 4), OTHER)))
        .collect();
    assert!(ask(&config, &node, &many, |_| 0).unwrap_err().holders.ends_with(", 123 more"));
}

/// 50,000 leases in a /8 of 65,535 subnets. Walking every subnet past every lease would be billions of steps.
#[test]
fn a_large_network_is_no_effort() {
    let config = config(r#"{"Network":"10.0.0.0/8"}"#);
    let pool = config.v4.as_ref().unwrap();
    let all: Vec<Stored> = (0..50_000)
        .map(|slot| Stored {
            subnets: Subnets::v4(as_v4(pool.subnet(slot)).unwrap()),
            attrs: Ok(LeaseAttrs::new(OTHER)),
            reserved: false,
            written: 1,
        })
        .collect();
    assert_eq!(decide(&config, Previous::default(), &all), "take a free subnet, 10.195.81.0-24");
}

/// A small network, so that it is often full, with leases of several sizes that leave it on either side.
fn small_network() -> impl Strategy<Value = (NetworkConfig, Vec<Stored>, Previous)> {
    let pool = (24u8..=28, 0u32..16, 0u32..16).prop_map(|(len, a, b)| {
        let at = |slot: u32| Ipv4Addr::from(0x0a05_0000 + ((slot << (32 - len)) & 0xfff));
        let json = serde_json::json!({
            "Network": "10.5.0.0/20", "SubnetLen": len,
            "SubnetMin": at(a.min(b).max(1)).to_string(), "SubnetMax": at(a.max(b).max(1)).to_string(),
        });
        config(&json.to_string())
    });
    let any_net = || {
        (0u32..0x2000, 20u8..=31)
            .prop_map(|(low, len)| Ipv4Net::new((0x0a05_0000 + low).into(), len).unwrap())
    };
    let leases = prop::collection::vec((any_net(), any::<bool>(), 1u8..5, any::<bool>()), 0..24);
    let leases = leases.prop_map(|leases| {
        let one = |(net, readable, host, reserved): (Ipv4Net, bool, u8, bool)| Stored {
            subnets: Subnets::v4(net),
            attrs: match readable {
                true => Ok(LeaseAttrs::new(Ipv4Addr::new(192, 168, 0, host))),
                false => Err(unreadable()),
            },
            reserved,
            written: 1,
        };
        leases.into_iter().map(one).collect()
    });
    let previous = prop::option::of(any_net()).prop_map(|v4| Previous { v4, v6: None });
    (pool, leases, previous)
}

proptest! {
    #[test]
    fn a_new_lease_overlaps_nobody_and_one_is_found_whenever_one_exists(
        (config, all, previous) in small_network(), random: usize
    ) {
        let pool = config.v4.as_ref().unwrap();
        let is_free = |net: IpNet| {
            let net = Subnets::v4(as_v4(net).unwrap());
            all.iter().all(|one| !one.subnets.overlaps(&net))
        };
        match ask(&config, &node(previous), &all, |below| random % below) {
            Ok(Plan::Reuse { subnets, .. }) => {
                prop_assert!(all.iter().any(|one| one.subnets == subnets
                    && one.attrs.as_ref().is_ok_and(|attrs| attrs.public_ip == ME)));
                prop_assert!(pool.admits(subnets.v4.into()));
            }
            Ok(Plan::Delete { subnets }) => prop_assert!(!pool.admits(subnets.v4.into())),
            Ok(Plan::Previous { subnets }) => {
                prop_assert_eq!(Some(subnets.v4), previous.v4);
                prop_assert!(pool.admits(subnets.v4.into()) && is_free(subnets.v4.into()));
            }
            Ok(Plan::Pick { subnets }) => {
                prop_assert!(pool.admits(subnets.v4.into()) && is_free(subnets.v4.into()));
                // Among the first hundred.
                let before = (0..pool.count()).map(|slot| pool.subnet(slot)).take_while(|net| *net != subnets.v4.into());
                prop_assert!(before.filter(|net| is_free(*net)).count() < CHOICE);
            }
            Err(_) => prop_assert!((0..pool.count()).all(|slot| !is_free(pool.subnet(slot)))),
        }
    }

    /// However often the shell has to ask again, it ends with a lease or an error.
    #[test]
    fn asking_again_after_deletes_ends((config, mut all, previous) in small_network()) {
        let node = node(previous);
        for _ in 0..=all.len() {
            match ask(&config, &node, &all, |_| 0) {
                Ok(Plan::Delete { subnets }) => all.retain(|one| one.subnets != subnets),
                _ => return Ok(()),
            }
        }
        prop_assert!(false, "still deleting");
    }
}
