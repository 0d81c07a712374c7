//! The revision of a stored etcd, raised in place: for a restore that watchers must notice.
//!
//! An etcd that is restored begins again at its snapshot's revision, and gives numbers away a second time: a client that
//! saw the first life would take other objects for those that it knows. `etcdutl snapshot restore --bump-revision` avoids
//! that, from etcd 3.6 on; this does the same for the 3.4 and 3.5 that distributions have.
//!
//! Owns: as much of bbolt's file format as leads to the newest record of etcd's bucket `key`
//! (<https://github.com/etcd-io/bbolt>, page.go and bucket.go). That record's key begins with the revision, big-endian; a
//! greater one keeps the order of the keys and their length, so nothing moves.
//! Never: changes another byte.

/// What is wrong with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no snapshot of etcd version 3: {0}")]
pub struct BoltError(&'static str);

const MAGIC: u32 = 0xED0C_DAED;
/// Bytes of a page's and of an element's head.
const HEAD: usize = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
/// In the flags of a leaf's element: its value is a bucket.
const BUCKET: u32 = 0x01;
/// Deeper trees than this do not exist: each level has at least two children.
const DEPTH: usize = 64;

/// Raises the newest revision of the store by `by`, and gives the new one.
///
/// # Errors
/// The bytes are no such store, or it holds nothing.
pub fn raise_revision(file: &mut [u8], by: u64) -> Result<u64, BoltError> {
    let (page_size, root) = newest_meta(file)?;
    let bucket = find_bucket(file, page_size, root, b"key")?;
    let places = last_keys(file, page_size, bucket)?;
    let (&leaf, branches) = places.split_last().ok_or(BoltError("it has no records"))?;
    let old = bytes(file, leaf, 17)?.to_vec();
    let revision = u64_be(&old)?;
    let raised = revision.checked_add(by).filter(|raised| i64::try_from(*raised).is_ok());
    let raised = raised.ok_or(BoltError("its revision cannot be raised that far"))?;
    // Branches repeat the first key of a page: where the record is alone on its page, they must follow.
    let same = branches.iter().filter(|place| bytes(file, **place, 17).is_ok_and(|key| key == old));
    for place in same.copied().chain([leaf]).collect::<Vec<_>>() {
        let key = file.get_mut(place..place + 8).ok_or(BoltError("it is cut off"))?;
        key.copy_from_slice(&raised.to_be_bytes());
    }
    Ok(raised)
}

/// Where a bucket's tree begins: a page of its own, or one inside its parent's.
#[derive(Clone, Copy)]
enum Root {
    Page(u64),
    Inline(usize),
}

/// The newer of the two descriptions of the file that are whole: size of a page, page of the root bucket.
fn newest_meta(file: &[u8]) -> Result<(usize, u64), BoltError> {
    let read = |at: usize| {
        let body = at + HEAD;
        let page_size = u32_le(file, body + 8).ok()?;
        let sum = fnv(bytes(file, body, 56).ok()?);
        let whole = u32_le(file, body).ok()? == MAGIC && u64_le(file, body + 56).ok()? == sum;
        whole.then_some(())?;
        Some((u64_le(file, body + 48).ok()?, page_size as usize, u64_le(file, body + 16).ok()?))
    };
    let first = read(0);
    // Without the first, the second is where the usual sizes put it.
    let sizes = match first {
        Some((_, size, _)) => vec![size],
        None => vec![4096, 8192, 16_384, 65_536],
    };
    let found = sizes.into_iter().filter_map(read).chain(first).max();
    found.map(|(_, size, root)| (size, root)).ok_or(BoltError("it does not begin as one"))
}

/// A bucket among those of the root.
fn find_bucket(file: &[u8], page_size: usize, root: u64, name: &[u8]) -> Result<Root, BoltError> {
    let mut at = page(file, page_size, root)?;
    for _ in 0..DEPTH {
        let count = usize::from(u16_le(file, at + 10)?);
        let element = |nth: usize| at + HEAD + nth * HEAD;
        match u16_le(file, at + 8)? {
            LEAF => {
                for nth in 0..count {
                    let element = element(nth);
                    let (start, size) =
                        (element + u32_le(file, element + 4)? as usize, u32_le(file, element + 8)?);
                    if u32_le(file, element)? & BUCKET != 0 && bytes(file, start, size as usize)? == name {
                        let value = start + size as usize;
                        let own = u64_le(file, value)?;
                        return Ok(if own == 0 { Root::Inline(value + 16) } else { Root::Page(own) });
                    }
                }
                return Err(BoltError("it has no records"));
            }
            BRANCH => {
                // The last child whose first key is not greater.
                let mut next = None;
                for nth in 0..count {
                    let element = element(nth);
                    let (start, size) =
                        (element + u32_le(file, element)? as usize, u32_le(file, element + 4)?);
                    if nth == 0 || bytes(file, start, size as usize)? <= name {
                        next = Some(u64_le(file, element + 8)?);
                    }
                }
                at = page(file, page_size, next.ok_or(BoltError("a page is empty"))?)?;
            }
            _ => return Err(BoltError("a page is of no known kind")),
        }
    }
    Err(BoltError("its pages go in circles"))
}

/// Where the greatest key is written: in each branch on the way, and at last in its leaf.
fn last_keys(file: &[u8], page_size: usize, bucket: Root) -> Result<Vec<usize>, BoltError> {
    let mut places = Vec::new();
    let mut at = match bucket {
        Root::Page(number) => page(file, page_size, number)?,
        Root::Inline(at) => at,
    };
    for _ in 0..DEPTH {
        let count = usize::from(u16_le(file, at + 10)?);
        let nth = count.checked_sub(1).ok_or(BoltError("it has no records"))?;
        let element = at + HEAD + nth * HEAD;
        match u16_le(file, at + 8)? {
            LEAF => {
                places.push(element + u32_le(file, element + 4)? as usize);
                return Ok(places);
            }
            BRANCH => {
                places.push(element + u32_le(file, element)? as usize);
                at = page(file, page_size, u64_le(file, element + 8)?)?;
            }
            _ => return Err(BoltError("a page is of no known kind")),
        }
    }
    Err(BoltError("its pages go in circles"))
}

fn page(file: &[u8], page_size: usize, number: u64) -> Result<usize, BoltError> {
    let at = usize::try_from(number).ok().and_then(|number| number.checked_mul(page_size));
    at.filter(|at| at + HEAD <= file.len()).ok_or(BoltError("it is cut off"))
}

fn bytes(file: &[u8], at: usize, length: usize) -> Result<&[u8], BoltError> {
    let end = at.checked_add(length).ok_or(BoltError("it is cut off"))?;
    file.get(at..end).ok_or(BoltError("it is cut off"))
}

fn fixed<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N], BoltError> {
    bytes(file, at, N)?.try_into().map_err(|_| BoltError("it is cut off"))
}

fn u16_le(file: &[u8], at: usize) -> Result<u16, BoltError> {
    fixed(file, at).map(u16::from_le_bytes)
}

fn u32_le(file: &[u8], at: usize) -> Result<u32, BoltError> {
    fixed(file, at).map(u32::from_le_bytes)
}

fn u64_le(file: &[u8], at: usize) -> Result<u64, BoltError> {
    fixed(file, at).map(u64::from_le_bytes)
}

fn u64_be(file: &[u8]) -> Result<u64, BoltError> {
    fixed(file, 0).map(u64::from_be_bytes)
}

/// FNV-1a of 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_snapshot_is_refused_whatever_it_is() {
        assert!(raise_revision(&mut [], 1).is_err());
        assert!(raise_revision(&mut [0; 100_000], 1).is_err());
        assert!(raise_revision(&mut vec![0xff; 100_000], 1).is_err());
        // A good beginning, and nothing good behind it.
        let mut file = vec![0xff; 4096 * 3];
        file[HEAD..HEAD + 4].copy_from_slice(&MAGIC.to_le_bytes());
        file[HEAD + 8..HEAD + 12].copy_from_slice(&4096_u32.to_le_bytes());
        file[HEAD + 16..HEAD + 24].copy_from_slice(&2_u64.to_le_bytes());
        let sum = fnv(&file[HEAD..HEAD + 56]);
        file[HEAD + 56..HEAD + 64].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(raise_revision(&mut file, 1), Err(BoltError("a page is of no known kind")));
    }
}
