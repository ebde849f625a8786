//! What the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Open files that the log, peers, snapshots and the runtime may need besides clients.
const FILES_RESERVED: u64 = 64;

/// Raises the limit of open files as far as `maxclients` needs and the system permits; lowers `maxclients` to what it then
/// leaves. Otherwise idle clients could take the files that the log needs, and stop the node.
pub fn fit_open_files(config: &mut Config) {
    let wanted = config.maxclients as u64 + FILES_RESERVED;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(mut limit) = current.filter(|current| *current < wanted) else { return };
    let raised = wanted.min(maximum.unwrap_or(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok() {
        limit = raised;
    }
    let fits = limit.saturating_sub(FILES_RESERVED).max(1);
    if fits < config.maxclients as u64 {
        tracing::warn!(
            "this process may have {limit} open files, so maxclients is {fits} instead of {}; raise the limit (ulimit -n) \
             for more",
            config.maxclients
        );
        config.maxclients = fits as usize;
    }
}
