use serde_json::json;

use super::*;

const ME: &str = "me_1";

fn election() -> Election {
    Election::new("kube-system", "kube-scheduler", ME, Timing::default())
}

/// A moment, in milliseconds since boot.
fn at(ms: u64) -> Moment {
    Moment { boot: Duration::from_millis(ms), wall: SystemTime::UNIX_EPOCH + Duration::from_millis(ms) }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn held_by(holder: &str, renewed: &str) -> Arc<Value> {
    Arc::new(json!({
        "metadata": { "name": "kube-scheduler", "namespace": "kube-system", "resourceVersion": renewed },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4, "renewTime": renewed, "acquireTime": "a" },
    }))
}

/// Does a step that must be a write, and has the server accept it.
fn write(election: &mut Election, sent: u64, answered: u64) -> Record {
    match election.next(at(sent), 0.0) {
        Step::Create(lease) | Step::Replace(lease) => {
            let record = Record::of(&lease);
            election.written(ms(answered), Arc::new(lease));
            record
        }
        other => panic!("{other:?}"),
    }
}

/// One that leads since it sent at 1 s.
fn leader() -> Election {
    let mut election = election();
    election.read(ms(900), None);
    write(&mut election, 1_000, 1_100);
    election
}

#[test]
fn a_lease_that_is_not_there_is_created() {
    let mut election = election();
    assert_eq!(election.next(at(0), 0.0), Step::Read);
    election.read(ms(10), None);
    let record = write(&mut election, 20, 30);
    assert_eq!((record.holder.as_str(), record.seconds, record.transitions), (ME, 15, 0));
    assert_eq!(
        (record.acquired.as_str(), &record.renewed),
        ("1970-01-01T00:00:00.020000Z", &record.acquired)
    );
    assert_eq!(election.leads_until(), Some(ms(10_020)));
}

#[test]
fn another_ones_lease_is_taken_once_it_did_not_change_for_its_whole_length() {
    let mut election = election();
    election.read(ms(0), Some(held_by("other", "1")));
    // At least the retry period, at most 2.2 times it, and never beyond the end of the lease.
    assert_eq!(election.clone().next(at(0), 0.0), Step::Wait(ms(2_000)));
    assert_eq!(election.next(at(0), 1.0), Step::Wait(ms(4_400)));
    assert_eq!(election.next(at(4_399), 1.0), Step::Wait(ms(4_400)));
    assert_eq!(election.next(at(4_400), 1.0), Step::Read);
    // It changed: what counts is when that was seen.
    election.read(ms(4_500), Some(held_by("other", "2")));
    assert_eq!(election.next(at(4_500), 0.0), Step::Wait(ms(6_500)));
    election.read(ms(18_500), Some(held_by("other", "2")));
    assert_eq!(election.next(at(18_500), 1.0), Step::Wait(ms(19_500)));
    election.read(ms(19_500), Some(held_by("other", "2")));
    let record = write(&mut election, 19_500, 19_600);
    assert_eq!((record.holder.as_str(), record.transitions), (ME, 5));
    assert_eq!(election.leads_until(), Some(ms(29_500)));
}

#[test]
fn a_lease_that_was_given_up_is_taken_at_once() {
    let mut election = election();
    election.read(ms(0), Some(held_by("", "1")));
    assert_eq!(write(&mut election, 0, 5).transitions, 5);
}

#[test]
fn a_leader_renews_and_its_time_begins_before_it_sends() {
    let mut election = leader();
    assert_eq!(election.next(at(1_200), 0.0), Step::Wait(ms(3_100)));
    // The answer took four seconds: they are the leader's loss.
    let record = write(&mut election, 3_100, 7_100);
    assert_eq!(record.acquired, "1970-01-01T00:00:01.000000Z");
    assert_eq!(record.renewed, "1970-01-01T00:00:03.100000Z");
    assert_eq!(election.leads_until(), Some(ms(13_100)));
    assert_eq!(election.next(at(7_200), 0.0), Step::Wait(ms(9_100)));
}

#[test]
fn a_leader_that_cannot_renew_reads_once_then_tries_each_period_and_stops_in_time() {
    let mut election = leader();
    assert!(matches!(election.next(at(3_100), 0.0), Step::Replace(_)));
    election.failed(ms(3_200), 0.0);
    assert_eq!(election.next(at(3_200), 0.0), Step::Read);
    election.failed(ms(3_300), 0.0);
    assert_eq!(election.next(at(3_300), 0.0), Step::Wait(ms(5_300)));
    for second in [5, 7, 9] {
        assert_eq!(election.next(at(second * 1_000 + 300), 0.0), Step::Read);
        election.failed(ms(second * 1_000 + 300), 0.0);
    }
    // Its end comes before the next attempt.
    assert_eq!(election.next(at(10_000), 0.0), Step::Wait(ms(11_000)));
    assert_eq!(election.leads_until(), Some(ms(11_000)));
    assert_eq!(election.next(at(11_000), 0.0), Step::Lost(Loss::Late));
    assert_eq!(election.leads_until(), None);
}

#[test]
fn a_leader_that_wakes_up_after_its_end_sends_nothing() {
    let mut election = leader();
    assert_eq!(election.next(at(60_000), 0.0), Step::Lost(Loss::Late));
    assert_eq!(election.next(at(60_001), 0.0), Step::Lost(Loss::Late));
}

#[test]
fn a_leader_whose_answer_comes_after_its_end_has_lost() {
    let mut election = leader();
    let Step::Replace(lease) = election.next(at(10_900), 0.0) else { panic!("a write") };
    election.written(ms(11_000), Arc::new(lease));
    assert_eq!(election.leads_until(), None);
    assert_eq!(election.next(at(11_000), 0.0), Step::Lost(Loss::Late));
}

#[test]
fn a_leader_that_sees_another_one_in_its_place_stops_at_once() {
    let mut election = leader();
    assert!(matches!(election.next(at(3_100), 0.0), Step::Replace(_)));
    election.failed(ms(3_200), 0.0);
    assert_eq!(election.next(at(3_200), 0.0), Step::Read);
    election.read(ms(3_300), Some(held_by("other", "9")));
    assert_eq!(election.leads_until(), None);
    assert_eq!(election.next(at(3_300), 0.0), Step::Lost(Loss::Taken("other".to_owned())));
}

#[test]
fn a_leader_whose_lease_somebody_gave_up_takes_it_again_within_its_time() {
    let mut election = leader();
    assert!(matches!(election.next(at(3_100), 0.0), Step::Replace(_)));
    election.failed(ms(3_200), 0.0);
    assert_eq!(election.next(at(3_200), 0.0), Step::Read);
    election.read(ms(3_300), Some(held_by("", "9")));
    assert_eq!(election.leads_until(), Some(ms(11_000)));
    let record = write(&mut election, 3_300, 3_400);
    assert_eq!((record.holder.as_str(), record.transitions), (ME, 5));
    assert_eq!(election.leads_until(), Some(ms(13_300)));
    // Whoever was faster has it.
    assert!(matches!(election.next(at(5_400), 0.0), Step::Replace(_)));
    election.failed(ms(5_500), 0.0);
    assert_eq!(election.next(at(5_500), 0.0), Step::Read);
    election.read(ms(5_600), Some(held_by("", "11")));
    assert!(matches!(election.next(at(5_600), 0.0), Step::Replace(_)));
    election.failed(ms(5_700), 0.0);
    assert_eq!(election.next(at(5_700), 0.0), Step::Wait(ms(7_700)));
    assert_eq!(election.next(at(7_700), 0.0), Step::Read);
    election.read(ms(7_800), Some(held_by("other", "12")));
    assert_eq!(election.next(at(7_800), 0.0), Step::Lost(Loss::Taken("other".to_owned())));
}

#[test]
fn a_leader_whose_lease_was_changed_or_deleted_by_somebody_writes_it_again() {
    let mut election = leader();
    assert!(matches!(election.next(at(3_100), 0.0), Step::Replace(_)));
    election.failed(ms(3_200), 0.0);
    let mut annotated = (**election.lease().expect("its own")).clone();
    annotated["metadata"]["annotations"] = json!({ "a": "b" });
    election.read(ms(3_300), Some(Arc::new(annotated)));
    let Step::Replace(lease) = election.next(at(3_300), 0.0) else { panic!("a write") };
    assert_eq!(lease["metadata"]["annotations"]["a"], "b");
    election.failed(ms(3_400), 0.0);
    assert_eq!(election.next(at(5_400), 0.0), Step::Read);
    election.read(ms(5_500), None);
    assert_eq!(write(&mut election, 5_500, 5_600).transitions, 0);
    assert_eq!(election.leads_until(), Some(ms(15_500)));
}

#[test]
fn a_claim_whose_answer_was_lost_is_found_and_made_good() {
    let mut election = election();
    election.read(ms(0), None);
    let Step::Create(lease) = election.next(at(0), 0.0) else { panic!("a write") };
    election.failed(ms(5_000), 0.5);
    assert_eq!(election.leads_until(), None);
    assert_eq!(election.next(at(5_000), 0.0), Step::Wait(ms(8_200)));
    assert_eq!(election.next(at(8_200), 0.0), Step::Read);
    election.read(ms(8_300), Some(Arc::new(lease)));
    assert_eq!(election.leads_until(), None, "what was read is no promise");
    let record = write(&mut election, 8_300, 8_400);
    assert_eq!((record.acquired.as_str(), record.transitions), ("1970-01-01T00:00:00.000000Z", 0));
    assert_eq!(election.leads_until(), Some(ms(18_300)));
}

#[test]
fn an_answer_that_comes_after_its_own_end_makes_no_leader() {
    let mut election = election();
    election.read(ms(0), None);
    let Step::Create(lease) = election.next(at(0), 0.0) else { panic!("a write") };
    election.written(ms(10_000), Arc::new(lease));
    assert_eq!(election.leads_until(), None);
    // It is its own all the same, and a renewal makes it good.
    assert!(matches!(election.next(at(10_000), 0.0), Step::Replace(_)));
}

#[test]
fn a_clock_that_says_the_same_time_twice_makes_another_record_all_the_same() {
    let mut election = leader();
    let first = Record::of(election.lease().expect("its own"));
    let stopped = Moment { boot: ms(3_100), wall: at(1_000).wall };
    let Step::Replace(lease) = election.next(stopped, 0.0) else { panic!("a write") };
    assert_ne!(Record::of(&lease).renewed, first.renewed);
}
