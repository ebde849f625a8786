//! A damaged directory of a member whose peers hold the data: what is in it is kept under other names, and the log begins anew. The
//! identity stays, and says that the node must not vote, nor count for anything, until it has all again (`rejoin`).
//!
//! The identity is changed first and last, so that a crash in between is finished by the next start. What was set aside is removed by the
//! first start after the node has rejoined: until then it may be all that is left of an entry that the others lose meanwhile.

use super::meta::{NodeMeta, Rejoin};
use super::segment::{SPARE, segment_of};
use super::{Doing, StoreError, files, reserve, snapshot};
use crate::ports::Disk;

const ASIDE: &str = "damaged-";

/// Whether this is such a file.
pub(super) fn is_aside(name: &str) -> bool {
    name.starts_with(ASIDE)
}

fn aside(name: &str) -> String {
    format!("{ASIDE}{name}")
}

/// Sets it all aside; answers the identity from now on.
pub(super) async fn set_aside(disk: &impl Disk, meta: &NodeMeta) -> Result<NodeMeta, StoreError> {
    let save = async |rejoin| {
        let meta = NodeMeta { rejoin, ..meta.clone() };
        // The log begins anew, and so do the numbers of its groups.
        reserve::spend(disk, async || meta.save(disk, 0).await).await.map(|()| meta)
    };
    let mut names = disk.list().doing(|| format!("list {}", disk.describe("")))?;
    names.sort();
    // What is damaged while the node rejoins came from the others a moment ago; what was set aside in the beginning is worth more.
    let is_first = matches!(meta.rejoin, Rejoin::Needless | Rejoin::Due);
    if is_first {
        for name in names.iter().filter(|name| is_aside(name)) {
            files::remove_if_there(disk, name)?; // of an earlier time, which is over
        }
    }
    save(Rejoin::SettingAside).await?;
    for name in &names {
        let is_kept = names.contains(&aside(name));
        if segment_of(name).is_none() && snapshot::index_of(name).is_none() {
            if name == SPARE || name.as_bytes().ends_with(b".part") {
                files::remove_if_there(disk, name)?;
            }
        } else if is_kept && !is_first {
            files::remove_if_there(disk, name)?;
        } else {
            let renamed = disk.rename(name, &aside(name));
            renamed.doing(|| format!("rename {}", disk.describe(name)))?;
        }
    }
    disk.sync_directory().await.doing(|| "sync the data directory".to_owned())?;
    save(Rejoin::UnderWay).await
}
