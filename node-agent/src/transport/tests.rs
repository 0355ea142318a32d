//! The wrapper against what a real C-core client sends (captured from Python grpcio 1.85), whole, split and mutated.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Transport;
use super::frames::PREFACE;

/// The header block of `FetchX509SVID` as grpcio sends it to `unix:///tmp/cap/agent.sock`.
fn block() -> Vec<u8> {
    let mut block = Vec::new();
    block.extend(b"\x40\x05:path\x20/SpiffeWorkloadAPI/FetchX509SVID");
    block.extend(b"\x40\x0a:authority\x16tmp%2Fcap%2Fagent.sock\x83\x86");
    block.extend(b"\x40\x0ccontent-type\x10application/grpc\x40\x02te\x08trailers");
    block.extend(b"\x40\x14grpc-accept-encoding\x17identity, deflate, gzip\x40\x0cgrpc-timeout\x04998m");
    block.extend(b"\x00\x12workload.spiffe.io\x04true");
    block
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Preface, SETTINGS, WINDOW_UPDATE, then `headers`, then an empty gRPC message, and all of that as it should come out.
fn conversation(headers: &[Vec<u8>]) -> Vec<u8> {
    let mut sent = PREFACE.to_vec();
    sent.extend(frame(4, 0, 0, &[0, 2, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0]));
    sent.extend(frame(8, 0, 0, &[0, 0x3f, 0, 1]));
    sent.extend(headers.concat());
    sent.extend(frame(0, 1, 1, &[0; 5]));
    // What looks like an illegal authority inside DATA is none of ours.
    sent.extend(frame(0, 1, 3, b"\x41\x03a%b"));
    sent
}

/// What should come out of `sent`, which holds the block above in one piece.
fn repaired(sent: &[u8]) -> Vec<u8> {
    let at = sent.windows(6).position(|window| window == b"tmp%2F").unwrap();
    let mut expected = sent.to_vec();
    for byte in &mut expected[at..at + 22] {
        if *byte == b'%' {
            *byte = b'-';
        }
    }
    expected
}

/// Sends `parts` one after the other through a wrapped stream and reads to the end with a small buffer.
fn through(parts: &[&[u8]]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let (mut client, server) = tokio::io::duplex(64);
        let writer = async move {
            for part in parts {
                client.write_all(&part).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let reader = async move {
            let mut transport = Transport::new(server);
            let mut read = Vec::new();
            let mut buf = [0; 7];
            loop {
                match transport.read(&mut buf).await.unwrap() {
                    0 => return read,
                    n => read.extend(&buf[..n]),
                }
            }
        };
        tokio::join!(writer, reader).1
    })
}

#[test]
fn a_c_core_request_comes_out_with_a_legal_authority_and_nothing_else_changed() {
    let sent = conversation(&[frame(1, 4, 1, &block())]);
    assert_eq!(through(&[&sent]), repaired(&sent));
}

#[test]
fn a_request_split_at_any_byte_comes_out_the_same() {
    let sent = conversation(&[frame(1, 4, 1, &block())]);
    let expected = repaired(&sent);
    for at in 0..sent.len() {
        let (before, after) = sent.split_at(at);
        assert_eq!(through(&[before, after]), expected, "split at {at}");
    }
    let bytes: Vec<&[u8]> = sent.chunks(1).collect();
    assert_eq!(through(&bytes), expected);
}

#[test]
fn padding_and_priority_stand_outside_the_block() {
    let mut payload = vec![9];
    payload.extend([0, 0, 0, 0, 200]);
    payload.extend(block());
    payload.extend(b"\x41\x06a%2Fb%");
    payload.extend([0]);
    let sent = conversation(&[frame(1, 4 | 8 | 0x20, 1, &payload)]);
    assert_eq!(through(&[&sent]), repaired(&sent));
}

#[test]
fn a_block_in_continuations_is_repaired_wherever_it_is_cut() {
    let block = block();
    for at in 0..block.len() {
        let sent = conversation(&[frame(1, 0, 1, &block[..at]), frame(9, 0, 1, &[]), frame(9, 4, 1, &block[at..])]);
        let came = through(&[&sent]);
        let gather = |bytes: &[u8]| {
            let start = 24 + 9 + 12 + 9 + 4;
            let mut gathered = bytes[start + 9..start + 9 + at].to_vec();
            let rest = start + 9 + at + 9 + 9;
            gathered.extend(&bytes[rest..rest + block.len() - at]);
            gathered
        };
        assert_eq!(gather(&sent), block);
        assert_eq!(gather(&came), repaired(&block), "cut at {at}");
        assert_eq!(came.len(), sent.len());
    }
}

#[test]
fn the_second_request_of_a_connection_is_repaired_too() {
    let mut sent = conversation(&[frame(1, 4, 1, b"\x82"), frame(1, 4, 3, &block())]);
    sent.extend(frame(1, 4, 5, b"\x41\x07a%2Fb%c"));
    let mut expected = repaired(&sent);
    let tail = expected.len() - 7;
    expected[tail..].copy_from_slice(b"a-2Fb-c");
    assert_eq!(through(&[&sent]), expected);
}

#[test]
fn what_is_no_http2_goes_through_untouched() {
    for sent in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX", b"\0\x41\x03a%b", b"", b"P"] {
        assert_eq!(through(&[sent]), sent);
    }
}

#[test]
fn an_oversized_block_is_passed_on_and_not_gathered() {
    let mut parts = vec![PREFACE.to_vec(), frame(1, 0, 1, &block()[..60])];
    parts.extend((0..4000).map(|_| frame(9, 0, 1, b"\x82")));
    let sent = parts.concat();
    let mut walk = super::frames::Walk::new();
    let mut held = Vec::new();
    let mut most = 0;
    for chunk in sent.chunks(100) {
        held.extend_from_slice(chunk);
        let settled = walk.settle(&mut held);
        held.drain(..settled);
        most = most.max(held.len());
    }
    assert!((1000..=(16 << 10) + 100).contains(&most), "held {most} bytes");
    assert!(held.len() < 100);
}

#[test]
fn other_frames_inside_a_block_end_the_walk() {
    let sent = [PREFACE.to_vec(), frame(1, 0, 1, &block()[..60]), frame(0, 0, 1, b"x"), frame(9, 4, 1, &block()[60..])];
    let sent = sent.concat();
    assert_eq!(through(&[&sent]), sent);
}

#[test]
fn padding_longer_than_the_frame_ends_the_walk() {
    let mut payload = vec![250];
    payload.extend(block());
    let sent = [PREFACE.to_vec(), frame(1, 4 | 8, 1, &payload[..100])].concat();
    assert_eq!(through(&[&sent]), sent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Any mutation of a real conversation, in any pieces: no panic, no byte more or less, and the walk does not
    /// depend on how the bytes were cut.
    #[test]
    fn mutated_conversations_keep_their_length_and_do_not_depend_on_the_cuts(
        flips in proptest::collection::vec((0usize..500, any::<u8>()), 0..12),
        cut in 1usize..80,
        padded in any::<bool>(),
    ) {
        let mut payload = if padded { vec![3] } else { vec![] };
        payload.extend(block());
        let flags = if padded { 4 | 8 } else { 4 };
        let mut sent = conversation(&[frame(1, flags, 1, &payload), frame(1, 4, 3, b"\x41\x03a%b")]);
        for (at, value) in flips {
            let at = at % sent.len();
            sent[at] = value;
        }
        let whole = through(&[&sent]);
        let pieces: Vec<&[u8]> = sent.chunks(cut).collect();
        prop_assert_eq!(whole.len(), sent.len());
        prop_assert_eq!(through(&pieces), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(sent in proptest::collection::vec(any::<u8>(), 0..600), begin in any::<bool>()) {
        let sent = if begin { [PREFACE.to_vec(), sent].concat() } else { sent };
        prop_assert_eq!(through(&[&sent]).len(), sent.len());
    }

    #[test]
    fn no_header_block_makes_it_panic(mut block in proptest::collection::vec(any::<u8>(), 0..300)) {
        let length = block.len();
        super::hpack::repair(&mut block);
        prop_assert_eq!(block.len(), length);
    }
}
