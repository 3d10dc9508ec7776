//! Accounts.

use super::super::work::{Action, Work};

pub(super) fn slurm_user(work: &mut Work<'_>) {
    for key in ["SlurmUser", "SlurmdUser"] {
        work.each(key, |work, user| {
            let missing = work.container.account(user).is_none();
            missing.then(|| Action::CommentOut {
                reason: format!("no account {user} here"),
            })
        });
    }
}
