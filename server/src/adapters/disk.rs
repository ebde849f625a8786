//! The data directory as files, held by one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use steadfast_replication::ports;

use super::draw_entropy;

/// A directory of files.
#[derive(Debug)]
pub struct FileDisk {
    directory: PathBuf,
    /// Held, not read: the lock goes when the process does.
    _lock: File,
}

/// A file of it.
#[derive(Debug)]
pub struct OpenedFile(File);

const LOCK: &str = "lock";

impl FileDisk {
    /// Opens a data directory, making it if it is missing.
    ///
    /// # Errors
    /// A sentence: it can't be made or written, or another process holds it.
    pub fn open(directory: &str) -> Result<Self, String> {
        let path = Path::new(directory);
        let unusable = |error: &io::Error| {
            format!(
                "cannot use the data directory {directory}: {error}. Nothing was changed. Check its permissions and the disk, \
                 or choose another --dir."
            )
        };
        make(path).map_err(|error| unusable(&error))?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = lock.map_err(|error| unusable(&error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "the data directory {directory} is held by another process. Nothing was changed. Stop that one, or choose \
                 another --dir."
            )),
            Err(TryLockError::Error(error)) => Err(unusable(&error)),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Makes a directory and those above it that are missing. Each name is durable when this returns: a directory that a power cut
/// took away would be taken for a new one.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or_else(|| Path::new("."));
    make(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => File::open(above)?.sync_all(),
    }
}

fn draw_id() -> u128 {
    u128::from(draw_entropy()) << 64 | u128::from(draw_entropy())
}

impl ports::Disk for FileDisk {
    type File = OpenedFile;

    fn open(&self, name: &str) -> io::Result<OpenedFile> {
        OpenOptions::new().read(true).write(true).open(self.path(name)).map(OpenedFile)
    }

    fn create(&self, name: &str) -> io::Result<OpenedFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).open(self.path(name)).map(OpenedFile)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != LOCK {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    async fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stats = rustix::fs::statvfs(&self.directory)?;
        Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
    }

    /// When the inode was made, which no copy can take over. Not its number: file systems of virtual machines may number anew at
    /// each mount.
    fn birth(&self, name: &str) -> io::Result<Option<u128>> {
        let created = fs::metadata(self.path(name))?.created().ok();
        Ok(created.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|at| at.as_nanos()))
    }

    fn draw_id(&self) -> Option<u128> {
        Some(draw_id())
    }

    fn describe(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

impl ports::File for OpenedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|facts| facts.len())
    }

    #[cfg(target_os = "linux")]
    fn forget_cached(&self) {
        // Advice: where it is not taken, what is read may come from memory.
        let _ = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed);
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No two are alike, and neither are the halves of one.
    #[test]
    fn ids_are_drawn_anew() {
        let mut halves: Vec<u64> =
            (0..100).map(|_| draw_id()).flat_map(|id| [(id >> 64) as u64, id as u64]).collect();
        halves.sort_unstable();
        halves.dedup();
        assert_eq!(halves.len(), 200);
    }
}
