//! Which operator may do what: roles by the groups of the socket's peer, as the kernel and the system's user database
//! name them, asked before any service sees the request. A method that no line below names is refused.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tonic::body::Body;
use tonic::transport::server::UdsConnectInfo;
use tower::{Layer, Service};

use super::refusal::Refusal;

/// What an operator may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks at everything but the record and the evidence: of a decision he is told the verdict, and no value.
    Viewer,
    /// Runs the fleet: nodes, inventory, entries, endorsements.
    Operator,
    /// Proposes, applies, promotes and rolls back policies.
    PolicyAuthor,
    /// Approves what another proposed; rolls back.
    PolicyApprover,
    /// Reads the record, and proves what is in it.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Operator, Self::PolicyAuthor, Self::PolicyApprover, Self::Auditor];

    /// As configuration and messages name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::PolicyAuthor => "policy-author",
            Self::PolicyApprover => "policy-approver",
            Self::Auditor => "auditor",
        }
    }

    /// Its key in the configuration.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Viewer => "admin.roles.viewer",
            Self::Operator => "admin.roles.operator",
            Self::PolicyAuthor => "admin.roles.policy-author",
            Self::PolicyApprover => "admin.roles.policy-approver",
            Self::Auditor => "admin.roles.auditor",
        }
    }
}

/// Whether an operator is shown what was found of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It stands in the record that he was.
    Shown,
    /// He has no role but that of a viewer.
    Withheld,
}

/// Any role will do.
const ANY: &[Role] = &Role::ALL;
const OPERATOR: &[Role] = &[Role::Operator];
const AUTHOR: &[Role] = &[Role::PolicyAuthor];
const APPROVER: &[Role] = &[Role::PolicyApprover];
const AUTHOR_OR_APPROVER: &[Role] = &[Role::PolicyAuthor, Role::PolicyApprover];
const AUDITOR: &[Role] = &[Role::Auditor];
const OPERATOR_OR_AUDITOR: &[Role] = &[Role::Operator, Role::Auditor];
/// Whoever may read what was found of machines: that he did stands in the record.
const READERS: &[Role] = &[Role::Operator, Role::PolicyAuthor, Role::PolicyApprover, Role::Auditor];

/// One of which roles each method needs. Every method of the admin services stands here: a test reads them from the
/// protocol.
const NEEDED: &[(&str, &[Role])] = &[
    ("Server/Status", ANY),
    ("Entries/Create", OPERATOR),
    ("Entries/Get", ANY),
    ("Entries/List", ANY),
    ("Entries/Update", OPERATOR),
    ("Entries/Delete", OPERATOR),
    ("Entries/Count", ANY),
    ("Entries/Match", ANY),
    ("Entries/Apply", OPERATOR),
    ("Nodes/List", ANY),
    ("Nodes/Get", ANY),
    ("Nodes/Act", OPERATOR),
    ("Nodes/Allow", OPERATOR),
    ("Nodes/Disallow", OPERATOR),
    ("Nodes/ListInventory", ANY),
    ("Policies/Apply", AUTHOR),
    ("Policies/List", ANY),
    ("Policies/Get", ANY),
    ("Policies/WhatIf", ANY),
    ("Policies/Promote", AUTHOR),
    ("Policies/Rollback", AUTHOR_OR_APPROVER),
    ("Policies/History", ANY),
    ("Policies/ListProposals", ANY),
    ("Policies/Approve", APPROVER),
    ("Policies/Withdraw", AUTHOR_OR_APPROVER),
    ("Attempts/List", ANY),
    ("Attempts/Get", ANY),
    ("Attempts/ListStrangers", ANY),
    ("Bundles/Show", ANY),
    ("Federations/Create", OPERATOR),
    ("Federations/Get", ANY),
    ("Federations/List", ANY),
    ("Federations/Update", OPERATOR),
    ("Federations/Refresh", OPERATOR),
    ("Federations/Delete", OPERATOR),
    ("Federations/SetBundle", OPERATOR),
    ("Federations/DeleteBundle", OPERATOR),
    ("JwtAuthorities/Show", ANY),
    ("JwtAuthorities/Act", OPERATOR),
    ("X509Authorities/Show", ANY),
    ("X509Authorities/Act", OPERATOR),
    ("Svids/List", ANY),
    ("Svids/Revoke", OPERATOR),
    ("Endorsements/Import", OPERATOR),
    ("Endorsements/List", ANY),
    ("Endorsements/Withdraw", OPERATOR),
    ("Endorsements/Export", ANY),
    ("Endorsements/ImportBundle", OPERATOR),
    ("Endorsements/Refresh", OPERATOR),
    ("Endorsements/ListWanted", ANY),
    ("Fleets/Tcb", READERS),
    ("Fleets/Report", ANY),
    ("Record/Entries", AUDITOR),
    ("Record/Claims", AUDITOR),
    ("Record/Tiles", AUDITOR),
    // What witnesses get: it names nobody.
    ("Record/Checkpoint", ANY),
    ("Record/Prove", AUDITOR),
    ("Proofs/Prove", AUDITOR),
    ("Proofs/Usage", ANY),
    ("Events/List", ANY),
    ("Events/Act", OPERATOR),
    ("Exchanges/List", READERS),
    ("Results/Issue", OPERATOR_OR_AUDITOR),
    ("Results/Key", ANY),
];

/// Where the services live.
const PACKAGE: &str = "/holdfast.admin.v1.";

/// Groups of each role.
type Groups = Vec<(Role, Vec<String>)>;

/// The roles of operators, as the configuration gives them.
#[derive(Clone, Debug)]
pub struct Roles(Option<Arc<Groups>>);

impl Roles {
    /// Whoever may open the socket has every role.
    #[must_use]
    pub const fn everybody() -> Self {
        Self(None)
    }

    /// Members of these groups have these roles, and nobody else has any but root, who has all.
    #[must_use]
    pub fn of_groups(groups: impl Iterator<Item = (Role, Vec<String>)>) -> Self {
        Self(Some(Arc::new(groups.collect())))
    }

    /// The roles of the peer with this user ID, whose process runs in group `gid`. Reads the user database.
    fn of(&self, uid: u32, gid: u32) -> BTreeSet<Role> {
        let Some(groups) = &self.0 else { return BTreeSet::from(Role::ALL) };
        if uid == 0 {
            return BTreeSet::from(Role::ALL);
        }
        let mut member = vec![Gid::from_raw(gid)];
        // A user that nobody knows is in no other group.
        if let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid))
            && let Ok(name) = CString::new(user.name)
        {
            member.push(user.gid);
            member.extend(getgrouplist(&name, user.gid).unwrap_or_default());
        }
        let has = |name: &String| {
            let group = Group::from_name(name).ok().flatten();
            group.is_some_and(|group| member.contains(&group.gid))
        };
        groups.iter().filter(|(_, names)| names.iter().any(has)).map(|(role, _)| *role).collect()
    }

    /// What the peer is shown of evidence where a method that any role may call tells of it.
    pub(super) fn found_for(&self, uid: u32, gid: u32) -> Found {
        let shown = self.of(uid, gid).iter().any(|role| READERS.contains(role));
        if shown { Found::Shown } else { Found::Withheld }
    }

    /// Whether the peer may call the method.
    fn check(&self, path: &str, uid: u32, gid: u32) -> Result<(), Refusal> {
        let method = path.strip_prefix(PACKAGE).unwrap_or(path);
        let needed = NEEDED.iter().find(|(name, _)| *name == method).map_or(&[][..], |(_, roles)| *roles);
        let has = self.of(uid, gid);
        if needed.iter().any(|role| has.contains(role)) {
            return Ok(());
        }
        let (names, method) = (one_of(needed), method.to_owned());
        tracing::warn!(uid, method, needed = names, "operator denied: lacks the role");
        metrics::counter!("holdfast_admin_denied_total", "needed" => names.clone()).increment(1);
        Err(Refusal::Role { needed: if names.is_empty() { "no role that exists".to_owned() } else { names } })
    }
}

/// The roles that may read evidence, in words.
pub(super) fn readers() -> String {
    one_of(READERS)
}

fn one_of(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ")
}

/// Asks for the role before any service.
#[derive(Clone, Debug)]
pub(super) struct RolesLayer(Roles);

impl RolesLayer {
    pub(super) const fn new(roles: Roles) -> Self {
        Self(roles)
    }
}

impl<S> Layer<S> for RolesLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, roles: self.0.clone() }
    }
}

/// A service behind the roles.
#[derive(Clone, Debug)]
pub(super) struct Guarded<S> {
    inner: S,
    roles: Roles,
}

impl<S, B> Service<hyper::Request<B>> for Guarded<S>
where
    S: Service<hyper::Request<B>, Response = hyper::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<B>) -> Self::Future {
        // The one that was polled is the one that is called.
        let unready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, unready);
        let roles = self.roles.clone();
        Box::pin(async move {
            let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
            let path = request.uri().path().to_owned();
            let checked = match peer.map(|peer| (peer.uid(), peer.gid())) {
                // The user database may be a directory service.
                Some((uid, gid)) => tokio::task::spawn_blocking(move || roles.check(&path, uid, gid)).await,
                None => Ok(Err(Refusal::Role { needed: "a peer that the kernel names".to_owned() })),
            };
            match checked {
                Ok(Ok(())) => inner.call(request).await,
                Ok(Err(refusal)) => Ok(tonic::Status::from(refusal).into_http()),
                Err(_) => Ok(tonic::Status::internal("roles cannot be read").into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_decided_about_every_method_and_about_no_other() {
        let proto = include_str!("../../../crates/protocol/proto/holdfast/admin/v1/admin.proto");
        let mut service = "";
        let mut methods = BTreeSet::new();
        for line in proto.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.split_whitespace().next().unwrap();
            } else if let Some(rest) = line.strip_prefix("rpc ") {
                methods.insert(format!("{service}/{}", rest.split('(').next().unwrap()));
            }
        }
        assert!(methods.len() > 30);
        let decided: BTreeSet<String> = NEEDED.iter().map(|(method, _)| (*method).to_owned()).collect();
        assert_eq!(decided.len(), NEEDED.len(), "a method stands twice");
        assert_eq!(decided, methods);
        assert!(NEEDED.iter().all(|(_, roles)| !roles.is_empty()));
    }

    #[test]
    fn whoever_only_looks_is_shown_nothing_that_was_found() {
        let (here, nobody) = (Gid::current().as_raw(), 0x7fff_fffe);
        let own = Group::from_gid(Gid::current()).unwrap().unwrap().name;
        let found = |role| Roles::of_groups([(role, vec![own.clone()])].into_iter()).found_for(nobody, here);
        assert_eq!(found(Role::Viewer), Found::Withheld);
        for role in [Role::Operator, Role::PolicyAuthor, Role::PolicyApprover, Role::Auditor] {
            assert_eq!(found(role), Found::Shown);
        }
        assert_eq!(Roles::everybody().found_for(nobody, here), Found::Shown);
        let none = Roles::of_groups(std::iter::empty());
        assert_eq!((none.found_for(nobody, nobody), none.found_for(0, 0)), (Found::Withheld, Found::Shown));
    }

    #[test]
    fn roles_come_of_groups_and_root_has_all() {
        let here = Gid::current().as_raw();
        let own = Group::from_gid(Gid::current()).unwrap().unwrap().name;
        let roles = Roles::of_groups(
            [(Role::PolicyAuthor, vec![own]), (Role::Auditor, vec!["no-such-group".to_owned()])].into_iter(),
        );
        let nobody = 0x7fff_fffe;
        assert_eq!(roles.of(nobody, here), BTreeSet::from([Role::PolicyAuthor]));
        assert_eq!(roles.of(0, here), BTreeSet::from(Role::ALL));
        assert_eq!(roles.of(nobody, nobody), BTreeSet::new());
        assert_eq!(Roles::everybody().of(nobody, nobody), BTreeSet::from(Role::ALL));
        let check = |method: &str| roles.check(&format!("{PACKAGE}{method}"), nobody, here).map_err(|r| r.to_string());
        assert_eq!(check("Policies/Apply"), Ok(()));
        assert_eq!(check("Policies/List"), Ok(()));
        assert!(check("Policies/Approve").unwrap_err().contains("policy-approver"));
        assert!(check("Record/Entries").unwrap_err().contains("auditor"));
        assert_eq!(check("Fleets/Tcb"), Ok(()));
        let looking = Roles::of_groups(
            [(Role::Viewer, vec![Group::from_gid(Gid::current()).unwrap().unwrap().name])].into_iter(),
        );
        assert!(looking.check("/holdfast.admin.v1.Fleets/Tcb", nobody, here).is_err(), "it shows chips and TCBs");
        assert!(check("Policies/Forget").is_err());
        let without = roles.check("/holdfast.admin.v1.Policies/List", nobody, nobody).unwrap_err();
        assert_eq!(without.code(), "admin.role");
    }
}
