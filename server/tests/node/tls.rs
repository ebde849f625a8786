//! Nodes that speak TLS with each other: those of one authority find together, nobody else gets a word in.

use std::io;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use steadfast_core::reply::Reply;
use steadfast_replication::ports::Net as _;
use steadfast_server::adapters::PeerNet;
use steadfast_server::config::TlsFiles;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{TempDir, refusal, wait_for};
use crate::three_nodes::Cluster;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Files, and the directory that they are in.
struct Identity {
    files: TlsFiles,
    _directory: TempDir,
}

impl Identity {
    /// As flags of a node.
    fn flags(&self) -> Vec<&str> {
        let TlsFiles { certificate, key, authority } = &self.files;
        let files = [
            "--tls-cert-file",
            certificate,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            authority,
        ];
        [&["--tls-cluster", "yes"][..], &files].concat()
    }
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("it is drawn");
    CertifiedIssuer::self_signed(params, key).expect("it is signed")
}

/// Files of a node whose certificate names this host, and which trusts this authority.
fn files(host: &str, issuer: &Authority, trusted: &Authority) -> Identity {
    lasting(host, issuer, trusted, 2100)
}

/// The same, with a certificate that ends with this year's beginning.
fn lasting(host: &str, issuer: &Authority, trusted: &Authority, year: i32) -> Identity {
    let directory = TempDir::new();
    let key = KeyPair::generate().expect("it is drawn");
    let mut params = CertificateParams::new([host.to_owned()]).expect("it is a name");
    params.not_after = date_time_ymd(year, 1, 1);
    let certificate = params.signed_by(&key, issuer).expect("it is signed");
    let file = |name: &str, pem: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).expect("it is written");
        path.to_string_lossy().into_owned()
    };
    let files = TlsFiles {
        certificate: file("node.crt", certificate.pem()),
        key: file("node.key", key.serialize_pem()),
        authority: file("ca.crt", trusted.pem()),
    };
    Identity { files, _directory: directory }
}

/// One that is called says what it has read, and the caller what came back.
fn talk(called: &PeerNet, caller: &PeerNet) -> (io::Result<u64>, io::Result<u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system has room").block_on(async {
        let mut listener = called.bind("127.0.0.1", 0).await.expect("loopback has a port");
        let port = listener.local_addr().expect("it is bound").port();
        let answer = async {
            let (mut stream, _) = called.accept(&mut listener).await?;
            let read = stream.read_u64().await?;
            stream.write_u64(read + 1).await?;
            stream.flush().await?;
            Ok(read)
        };
        let ask = async {
            let mut stream = caller.connect("127.0.0.1", port).await?;
            stream.write_u64(41).await?;
            stream.flush().await?;
            stream.read_u64().await
        };
        tokio::join!(answer, ask)
    })
}

fn net(identity: &Identity) -> PeerNet {
    PeerNet::new(Some(&identity.files)).expect("the files are good")
}

/// Whether both sides have found that they can't trust each other.
fn is_refused(ends: &(io::Result<u64>, io::Result<u64>)) -> bool {
    let (answer, ask) = ends;
    answer.is_err()
        && ask.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[test]
fn nodes_of_one_authority_talk() {
    let authority = authority();
    let files = files("127.0.0.1", &authority, &authority);
    let net = net(&files);
    let (answer, ask) = talk(&net, &net);
    assert_eq!((answer.ok(), ask.ok()), (Some(41), Some(42)));
    let (answer, ask) = talk(&PeerNet::default(), &PeerNet::default());
    assert_eq!((answer.ok(), ask.ok()), (Some(41), Some(42)));
}

/// A stranger is refused on either side, as is a certificate of another host, and one that speaks no TLS.
#[test]
fn strangers_are_refused() {
    let (ours, theirs) = (authority(), authority());
    let member = net(&files("127.0.0.1", &ours, &ours));
    let stranger = net(&files("127.0.0.1", &theirs, &ours));
    let elsewhere = net(&files("redis-2", &ours, &ours));
    let plain = PeerNet::default();
    assert!(is_refused(&talk(&member, &stranger)), "it calls");
    assert!(is_refused(&talk(&stranger, &member)), "it is called");
    assert!(is_refused(&talk(&elsewhere, &member)), "it is not who was meant");
    assert_eq!(talk(&member, &elsewhere).1.ok(), Some(42), "who calls need not be anywhere");
    let ended = net(&lasting("127.0.0.1", &ours, &ours, 2001));
    for ends in [talk(&ended, &member), talk(&member, &ended)] {
        assert!(is_refused(&ends));
        let texts = [ends.0.err(), ends.1.err()].map(|error| error.map(|e| e.to_string()));
        let says = |text: &Option<String>| text.as_ref().is_some_and(|t| t.contains("has ended"));
        assert!(texts.iter().any(says), "{texts:?}");
    }
    let (answer, ask) = talk(&member, &plain);
    assert!(answer.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied));
    assert!(ask.is_err());
    assert!(is_refused(&(Err(io::ErrorKind::Other.into()), talk(&plain, &member).1)));
}

#[test]
fn files_that_are_no_good_are_named() {
    let authority = authority();
    let identities = [(); 2].map(|()| files("127.0.0.1", &authority, &authority));
    let [good, other] = [0, 1].map(|at| identities[at].files.clone());
    let missing = || "/nowhere/at/all".to_owned();
    for (files, named) in [
        (TlsFiles { certificate: missing(), ..good.clone() }, "--tls-cert-file"),
        (TlsFiles { key: missing(), ..good.clone() }, "--tls-key-file"),
        (TlsFiles { authority: missing(), ..good.clone() }, "--tls-ca-cert-file"),
        (TlsFiles { certificate: good.key.clone(), ..good.clone() }, "no certificate in it"),
        (TlsFiles { key: other.key, ..good }, "--tls-key-file"),
    ] {
        let refused = PeerNet::new(Some(&files)).err().expect("it can't be used");
        assert!(refused.contains(named) && refused.contains("Nothing was changed"), "{refused}");
    }
}

/// A cluster forms, serves and elects, and takes a node back that was away.
#[test]
fn a_cluster_speaks_tls() {
    let authority = authority();
    let identity = files("127.0.0.1", &authority, &authority);
    let mut cluster = Cluster::start(&identity.flags());
    let set = cluster.nodes[0].client().call(&["SET", "k", "kept"]).map(|reply| reply == Reply::Ok);
    assert_eq!(set.ok(), Some(true));
    let leader = cluster.leader();
    cluster.nodes[leader].kill();
    let other = &cluster.nodes[(leader + 1) % 3];
    wait_for("another one leads", || {
        let mut client = other.client();
        let reply = client.call(&["GET", "k"]).ok()?;
        (reply == Reply::Bulk(b"kept".as_slice().into())).then_some(())
    });
    cluster.nodes[leader].restart();
    cluster.assert_equal();
}

#[test]
fn tls_wants_its_files() {
    let text = refusal(&["--tls-cluster", "yes", "--tls-key-file", "k.pem"]);
    assert!(text.contains("--tls-cert-file") && text.contains("--tls-ca-cert-file"), "{text}");
}
