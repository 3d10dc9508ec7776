//! Tokens that are of no use, and one of a user that the cluster does not know.

use lab::Release;
use libtest_mimic::Failed;
use serde_json::json;

use crate::clusters::{Clusters, client, expect, holds, now, straw};

/// Refused before anybody is asked, with its age.
pub fn expired(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.sign(&json!({"exp": now() - 7300, "iat": 0, "sun": "alice"}));
    let refused = expect(4, straw(&client, &token, "fetch ctl1 -vv").run()?)?;
    let said = refused.error_text();
    holds(&said, &["(of alice) expired 2h 1m ago", "scontrol token"])?;
    if said.contains("asked") {
        return Err(format!("the controller was asked:\n{said}").into());
    }
    Ok(())
}

/// Signed with another key. A controller up to 24.05 does not say why it closes the connection.
pub fn forged(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let claims = json!({"exp": now() + 600, "iat": now(), "sun": "root"});
    let token = lab::jwt::sign(b"a key of this test, not the cluster's", &claims);
    let refused = expect(4, straw(&client, &token, "fetch ctl1").run()?)?;
    let parts: &[&str] = match clusters.release {
        Release::V22_05 => &[
            "closed the connection without a word",
            "none that this straw knows",
            "it refused the token",
        ],
        _ => &["it refused the token", "error 1007", "this cluster's key"],
    };
    holds(&refused.error_text(), parts)
}

/// Slurm gives the client set to whoever can authenticate, known or not.
pub fn of_an_unknown_user(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("mallory", 600)?;
    expect(
        0,
        straw(&client, &token, "fetch ctl1 -o /tmp/mallory").run()?,
    )?;
    let refused = straw(&client, &token, "fetch ctl1 --files slurmd").run()?;
    holds(&expect(6, refused)?.error_text(), &["mallory's"])
}
