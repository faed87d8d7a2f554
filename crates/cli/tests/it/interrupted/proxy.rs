//! [`Proxy`]: a network between a client and a server that fails.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use walbrook_testkit::Cluster;

/// Passes connections on to a server, and cuts all that there are at once when so many bytes have gone
/// through, both ways together.
pub(super) struct Proxy {
    directory: PathBuf,
    conninfo: String,
    wire: Arc<Mutex<Wire>>,
}

/// What all connections share.
struct Wire {
    server: PathBuf,
    /// Bytes until the cut; none when there is to be none.
    left: Option<u64>,
    /// Whether there was one.
    was_cut: bool,
    /// Whether new connections are passed on behind a cut.
    comes_back: bool,
    ends: Vec<UnixStream>,
}

impl Wire {
    /// Bytes have come; false when the wire has been cut.
    fn pass(&mut self, bytes: usize) -> bool {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes as u64);
            if *left == 0 {
                self.left = None;
                self.was_cut = true;
                self.cut();
                return false;
            }
        }
        true
    }

    fn cut(&mut self) {
        for end in self.ends.drain(..) {
            // One of a connection that is over already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Proxy {
    /// A proxy whose socket is in this directory, named as the server's is in its own.
    pub(super) fn start(cluster: &Cluster, directory: &Path) -> Proxy {
        let name = format!(".s.PGSQL.{}", cluster.port());
        let socket = directory.join(&name);
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
        let ours = cluster.socket_dir().to_str().unwrap();
        let conninfo = cluster.conninfo().replace(ours, directory.to_str().unwrap());
        assert_ne!(conninfo, cluster.conninfo());
        let wire = Wire {
            server: cluster.socket_dir().join(name),
            left: None,
            was_cut: false,
            comes_back: true,
            ends: Vec::new(),
        };
        let wire = Arc::new(Mutex::new(wire));
        let proxy = Proxy { directory: directory.to_owned(), conninfo, wire: Arc::clone(&wire) };
        // It ends with the process: a listener can't be woken, and does no harm.
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                accept(&wire, client);
            }
        });
        proxy
    }

    /// The server, through this.
    pub(super) fn conninfo(&self) -> &str {
        &self.conninfo
    }

    /// From now on so many bytes pass, and then all connections are cut; new ones then get through, or
    /// do not.
    pub(super) fn cut_after(&self, bytes: u64, comes_back: bool) {
        let mut wire = self.wire.lock().unwrap();
        (wire.left, wire.was_cut, wire.comes_back) = (Some(bytes.max(1)), false, comes_back);
    }

    /// Nothing is cut any more. Tells whether something was since [`cut_after`](Self::cut_after).
    pub(super) fn mend(&self) -> bool {
        let mut wire = self.wire.lock().unwrap();
        (wire.left, wire.comes_back) = (None, true);
        wire.was_cut
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wire.lock().unwrap().cut();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn accept(wire: &Arc<Mutex<Wire>>, client: UnixStream) {
    let mut held = wire.lock().unwrap();
    if held.was_cut && !held.comes_back {
        return;
    }
    let Ok(server) = UnixStream::connect(&held.server) else { return };
    let clone = |end: &UnixStream| end.try_clone().unwrap();
    held.ends.extend([clone(&client), clone(&server)]);
    drop(held);
    for (from, to) in [(clone(&client), clone(&server)), (server, client)] {
        let wire = Arc::clone(wire);
        thread::spawn(move || copy(&wire, from, to));
    }
}

/// One direction of a connection, to its end.
fn copy(wire: &Mutex<Wire>, mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        // The last bytes before a cut do not arrive.
        if !wire.lock().unwrap().pass(count) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
