//! A cpio archive in the "newc" format, which is what a kernel takes as initramfs (Documentation/driver-api/early-userspace
//! of Linux). All entries are root's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// What an archive will hold, by place; a folder comes before what is in it.
#[derive(Default)]
pub struct Archive(BTreeMap<PathBuf, Entry>);

struct Entry {
    mode: u32,
    content: Content,
}

enum Content {
    None,
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Archive {
    /// A folder, with those above it.
    pub fn folder(&mut self, place: &Path) {
        for folder in place.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            self.0.entry(folder.to_owned()).or_insert(Entry { mode: FOLDER | 0o755, content: Content::None });
        }
    }

    pub fn bytes(&mut self, place: &Path, bytes: &[u8], mode: u32) {
        self.put(place, mode, Content::Bytes(bytes.to_owned()));
    }

    pub fn file(&mut self, place: &Path, from: &Path, mode: u32) {
        self.put(place, mode, Content::File(from.to_owned()));
    }

    /// A file of this machine that can be run, in the same place.
    ///
    /// # Panics
    /// It is not there.
    pub fn program(&mut self, path: &Path) {
        let metadata = path.metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let place = path.strip_prefix("/").expect("an absolute path");
        self.file(place, path, metadata.permissions().mode() & 0o777);
    }

    fn put(&mut self, place: &Path, mode: u32, content: Content) {
        self.folder(place.parent().unwrap_or(Path::new("")));
        self.0.insert(place.to_owned(), Entry { mode: FILE | mode, content });
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        for (number, (place, entry)) in self.0.iter().enumerate() {
            let name = place.to_string_lossy();
            match &entry.content {
                Content::None => header(&mut out, number + 1, entry.mode, &name, 0)?,
                Content::Bytes(bytes) => {
                    header(&mut out, number + 1, entry.mode, &name, bytes.len() as u64)?;
                    out.write_all(bytes)?;
                    pad(&mut out, bytes.len() as u64)?;
                }
                Content::File(from) => {
                    let mut file = File::open(from)?;
                    let size = file.metadata()?.len();
                    header(&mut out, number + 1, entry.mode, &name, size)?;
                    io::copy(&mut io::Read::take(&mut file, size), &mut out)?;
                    pad(&mut out, size)?;
                }
            }
        }
        header(&mut out, 0, 0, "TRAILER!!!", 0)?;
        out.flush()
    }
}

fn header(out: &mut impl Write, inode: usize, mode: u32, name: &str, size: u64) -> io::Result<()> {
    let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
    let (none, name_size) = (0, name.len() + 1);
    // Inode, mode, owner, group, links, time, size; then the device numbers of the entry and of what it names, the length
    // of the name with its final zero, and no checksum.
    write!(out, "070701{inode:08X}{mode:08X}{none:08X}{none:08X}{links:08X}{none:08X}{size:08X}")?;
    write!(out, "{none:08X}{none:08X}{none:08X}{none:08X}{name_size:08X}{none:08X}")?;
    out.write_all(name.as_bytes())?;
    out.write_all(&[0])?;
    pad(out, 110 + name.len() as u64 + 1)
}

/// Everything begins at a multiple of four.
fn pad(out: &mut impl Write, len: u64) -> io::Result<()> {
    out.write_all(&[0; 3][..(len.next_multiple_of(4) - len) as usize])
}
