//! TLS: the CA's file.

use super::super::Severity;
use super::super::work::{Action, Work};
use crate::config::CA_CERT;

pub(super) fn owner(work: &mut Work<'_>) {
    // What root writes is accepted whoever SlurmUser is.
    if !work.has_file(CA_CERT) || work.container.is_root() {
        return;
    }
    work.each("SlurmUser", |work, user| {
        let uid = work.container.account(user)?;
        let accepted = uid == 0 || uid == work.container.owner();
        (!accepted).then(|| Action::CommentOut {
            reason: format!("{CA_CERT} is not {user}'s"),
        })
    });
}

pub(super) fn file(work: &mut Work<'_>) {
    let path = |parameter: &str| -> Option<String> {
        let path = parameter.trim().strip_prefix("ca_cert_file=")?;
        Some(path.to_owned())
    };
    if work.has_file(CA_CERT) {
        work.each("TLSParameters", |work, value| {
            let gone =
                |parameter: &&str| path(parameter).is_some_and(|path| !work.container.has(&path));
            let missing = value.split(',').find(gone).and_then(path)?;
            let kept: Vec<_> = value
                .split(',')
                .filter(|item| !item.trim().is_empty() && !gone(item))
                .collect();
            let reason = format!("no {missing} here, and {CA_CERT} is beside slurm.conf");
            Some(match kept.is_empty() {
                true => Action::CommentOut { reason },
                false => Action::Replace {
                    value: kept.join(","),
                    reason,
                },
            })
        });
        return;
    }
    // The parameters do nothing where TLS is not in use.
    let tls = work.value("TLSType").is_some_and(|kind| kind != "tls/none");
    let Some(setting) = work.effective("TLSParameters").filter(|_| tls) else {
        return;
    };
    let mut paths = setting.value.split(',').filter_map(path);
    if let Some(missing) = paths.find(|path| !work.container.has(path)) {
        let message = format!("there is no {missing} here, which TLSParameters names");
        let hint = "give the CA to straw with --ca-cert, then it is put beside slurm.conf";
        work.find(Severity::AllFail, Some(setting.place), message, hint);
    }
}
