//! A line between publisher and broker that can be slow, or go deaf at the worst moment.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::broker::Broker;

/// First two bytes of an UNSUBACK (MQTT 3.1.1, section 3.11).
const UNSUBACK: [u8; 2] = [0xb0, 0x02];

/// A TCP relay to a broker. Connections made through it end with it or with either side.
pub(super) struct Line {
    pub(super) port: u16,
    deaf_after_unsuback: Arc<AtomicBool>,
}

impl Line {
    /// Carries everything; towards the broker at most `pace` bytes per 10 ms.
    pub(super) fn to(broker: &Broker, pace: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, target) = (listener.local_addr().unwrap().port(), broker.port());
        let deaf_after_unsuback = Arc::new(AtomicBool::new(false));
        let trap = Arc::clone(&deaf_after_unsuback);
        start(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let (mut near_in, mut near_out) = (near.try_clone().unwrap(), near);
                let (mut far_in, mut far_out) = (far.try_clone().unwrap(), far);
                let trap = Arc::clone(&trap);
                start(move || slowly(&mut near_in, &mut far_out, pace));
                start(move || until_deaf(&mut far_in, &mut near_out, &trap));
            }
        });
        Self { port, deaf_after_unsuback }
    }

    /// Once: the next UNSUBACK still passes, then nothing of the broker's comes through on that connection.
    pub(super) fn go_deaf_after_the_next_unsuback(&self) {
        self.deaf_after_unsuback.store(true, Ordering::SeqCst);
    }
}

fn start(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name("line".into()).spawn(work).unwrap();
}

fn slowly(from: &mut TcpStream, to: &mut TcpStream, pace: usize) {
    let mut buffer = vec![0; pace];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
        if n == pace {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn until_deaf(from: &mut TcpStream, to: &mut TcpStream, trap: &AtomicBool) {
    let (mut buffer, mut deaf) = ([0; 4096], false);
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if !deaf && to.write_all(&buffer[..n]).is_err() {
            break;
        }
        deaf = deaf || (buffer[..n].windows(2).any(|w| w == UNSUBACK) && trap.swap(false, Ordering::SeqCst));
    }
    let _ = to.shutdown(Shutdown::Both);
}
