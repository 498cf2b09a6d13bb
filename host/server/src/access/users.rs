//! The users of the file (`authInternalUsers`): who somebody is by what was shown, and what that one may do.
//!
//! Every user is compared with what was shown, whether an earlier one matched or not, and somebody unknown costs a slow
//! hash when anybody known does: the time of an answer says nothing about who exists.

use std::{net::IpAddr, sync::Arc};

use wasmtx_hub::{Access, Proof};

use super::{
    hashing::{Hashing, memory_of},
    permission,
    proven::Proven,
};
use crate::config::{Credential, Password, User};

/// All users of the file.
pub(super) struct Users {
    all: Arc<[User]>,
}

/// What the users' list says to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go ahead; the name of whoever proved it.
    Allowed(Option<String>),
    /// A known user who may not do this.
    Forbidden,
    /// Nobody of the list.
    Unknown,
    /// Too many hashes wait.
    Busy,
}

impl Users {
    pub(super) fn new(users: Vec<User>) -> Users {
        Users { all: users.into() }
    }

    /// Answers a question. `open` says whether the user `any` counts.
    pub(super) async fn check(&self, access: &Access, open: bool, hashing: &Hashing, known: &Proven) -> Verdict {
        let proof = &*access.proof;
        let address = access.client.address.to_canonical();
        let mut here = Vec::new();
        let mut anybody = false;
        for (place, user) in self.all.iter().enumerate().filter(|(_, user)| is_from(user, address)) {
            if user.is_anybody() {
                anybody |= open && permits(user, access);
            } else {
                here.push(place);
            }
        }
        let (slow, quick): (Vec<_>, Vec<_>) = here.into_iter().partition(|place| is_slow(&self.all[*place]));
        let mut proven: Vec<_> = quick
            .into_iter()
            .filter(|place| proves(proof, &self.all[*place]))
            .collect();
        let slow = self.recognise(slow, proof, known, &mut proven);
        if !anybody && !proven.iter().any(|place| permits(&self.all[*place], access)) {
            match self.prove_slowly(slow, proof, hashing, known).await {
                Some(more) => proven.extend(more),
                None => return Verdict::Busy,
            }
        }
        let identity = proof.user().filter(|_| !proven.is_empty()).map(str::to_owned);
        if anybody || proven.iter().any(|place| permits(&self.all[*place], access)) {
            Verdict::Allowed(identity)
        } else if proven.is_empty() {
            Verdict::Unknown
        } else {
            Verdict::Forbidden
        }
    }

    /// Moves those of `places`, users with slow hashes, whom the proof fitted before to `proven`.
    fn recognise(&self, places: Vec<usize>, proof: &dyn Proof, known: &Proven, proven: &mut Vec<usize>) -> Vec<usize> {
        let (Some(user), Some(password)) = (proof.user(), proof.password()) else {
            return places;
        };
        let is_known = |place: &usize| known.knows(&known.login(&self.all[*place], user, password));
        let (recognised, others) = places.into_iter().partition::<Vec<_>, _>(is_known);
        proven.extend(recognised);
        others
    }

    /// Those of `places`, users with slow hashes, whom the proof fits. `None` when too many hashes wait.
    async fn prove_slowly(
        &self,
        places: Vec<usize>,
        proof: &dyn Proof,
        hashing: &Hashing,
        known: &Proven,
    ) -> Option<Vec<usize>> {
        let (Some(user), Some(password)) = (proof.user(), proof.password()) else {
            return Some(Vec::new());
        };
        let Some(memory) = places.iter().map(|place| memory(&self.all[*place])).max() else {
            return Some(Vec::new());
        };
        let (all, name, secret) = (self.all.clone(), user.to_owned(), password.to_owned());
        let work = move || {
            let mut hashed = false;
            let mut proven = Vec::new();
            for &place in &places {
                let User { user, pass, .. } = &all[place];
                hashed |= user.is_slow();
                if user.matches(&name) {
                    hashed |= pass.0.is_slow();
                    if fits(&pass.0, &secret) {
                        proven.push(place);
                    }
                }
            }
            if !hashed && let Some(&first) = places.first() {
                // For somebody unknown, what it takes for somebody known.
                all[first].pass.0.matches(&secret);
            }
            proven
        };
        let proven = hashing.run(memory, work).await?;
        for place in &proven {
            known.remember(known.login(&self.all[*place], user, password));
        }
        Some(proven)
    }
}

fn is_from(user: &User, address: IpAddr) -> bool {
    user.ips.is_empty() || user.ips.iter().any(|net| net.contains(&address))
}

/// Whether a user may do this. A permission's path counts only for actions that have one.
fn permits(user: &User, access: &Access) -> bool {
    user.permissions.iter().any(|given| {
        let covers = access.path.as_ref().is_none_or(|path| given.path.covers(path.as_str()));
        given.action == permission(access.action) && covers
    })
}

fn is_slow(user: &User) -> bool {
    user.user.is_slow() || user.pass.0.is_slow()
}

fn memory(user: &User) -> u32 {
    let of = |credential: &Credential| match credential {
        Credential::Argon2(phc) => memory_of(phc.expose()),
        _ => 0,
    };
    of(&user.user).max(of(&user.pass.0))
}

/// Whether what was shown fits a user without slow hashes.
fn proves(proof: &dyn Proof, user: &User) -> bool {
    let User {
        user: name,
        pass: Password(secret),
        ..
    } = user;
    if let (Some(name), Some(secret)) = (name.plain(), secret.plain())
        && !secret.is_empty()
    {
        // The only way to check a digest.
        return proof.matches(name, secret);
    }
    let name_fits = proof.user().is_some_and(|user| name.matches(user));
    let secret_fits = secret.is_empty() || proof.password().is_some_and(|password| fits(secret, password));
    name_fits & secret_fits
}

/// Whether a password is the one; a user without a password takes any.
fn fits(secret: &Credential, password: &str) -> bool {
    secret.is_empty() || secret.matches(password)
}
