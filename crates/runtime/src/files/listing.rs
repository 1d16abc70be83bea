//! What a folder holds, read in pieces as a guest asks for it: nobody's thread waits for the guest, and
//! no more than a piece is kept. Each folder that is being read counts as an open file.

use std::{
    fs::File,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    vec,
};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use tokio::task::{JoinHandle, spawn_blocking};

/// Most entries that are read ahead.
const PIECE: usize = 32;

/// Something that lies in a folder.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
}

type Found = io::Result<Entry>;

/// A folder that a guest reads.
pub(super) struct Listing {
    source: Arc<Mutex<Source>>,
    /// What was read ahead.
    found: vec::IntoIter<Found>,
    reading: Option<JoinHandle<Vec<Found>>>,
}

/// Where entries come from.
pub(super) enum Source {
    Unread(Arc<File>),
    Open(Dir),
    Over,
}

impl Listing {
    /// Reads a folder from its beginning; nothing is done before it is asked.
    pub(super) fn new(folder: Arc<File>) -> Self {
        Self {
            source: Arc::new(Mutex::new(Source::Unread(folder))),
            found: Vec::new().into_iter(),
            reading: None,
        }
    }

    /// What lives as long as the folder is held open.
    pub(super) fn source(&self) -> &Arc<Mutex<Source>> {
        &self.source
    }

    /// The next entry. After an error there is none.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Found>> {
        if let Some(found) = self.found.next() {
            return Poll::Ready(Some(found));
        }
        let reading = self.reading.get_or_insert_with(|| {
            let source = self.source.clone();
            spawn_blocking(move || source.lock().piece())
        });
        let piece = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        self.found = piece.map_err(io::Error::from)?.into_iter();
        Poll::Ready(self.found.next())
    }
}

impl Source {
    /// The next entries; none when that was all.
    fn piece(&mut self) -> Vec<Found> {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let found = self.next();
            let is_last = !matches!(found, Ok(Some(_)));
            piece.extend(found.transpose());
            if is_last {
                *self = Self::Over;
                break;
            }
        }
        piece
    }

    fn next(&mut self) -> io::Result<Option<Entry>> {
        if let Self::Unread(folder) = self {
            // Not the same handle: where it stands is one's own.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            *self = Self::Open(Dir::new(openat(folder, ".", flags, Mode::empty())?)?);
        }
        let Self::Open(dir) = self else {
            return Ok(None);
        };
        while let Some(entry) = dir.read().transpose()? {
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name = name.to_vec();
            // Not every file system says it here.
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = statat(dir.fd()?, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            return Ok(Some(Entry { name, kind }));
        }
        Ok(None)
    }
}
