//! The TPM as software reaches it: counted, faulty, cut off.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use holdfast_tpm_sim::{CommandCode, Effect, Fault, Powered};

use crate::{booted, profile_of};

const GET_RANDOM: CommandCode = CommandCode(0x17b);

fn connect(machine: &Powered) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", machine.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream
}

/// TPM2_GetRandom for 16 bytes; the response code.
fn get_random(stream: &mut TcpStream) -> std::io::Result<u32> {
    stream.write_all(&[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 16])?;
    let mut header = [0; 10];
    stream.read_exact(&mut header)?;
    let size = u32::from_be_bytes(header[2..6].try_into().unwrap()) as usize;
    stream.read_exact(&mut vec![0; size - 10])?;
    Ok(u32::from_be_bytes(header[6..].try_into().unwrap()))
}

#[test]
fn commands_are_counted_by_name_and_the_simulators_own_are_not() {
    let (_directory, machine) = booted(0, "shim-grub");
    assert_eq!(machine.command_total(), 0);
    let mut stream = connect(&machine);
    for _ in 0..3 {
        assert_eq!(get_random(&mut stream).unwrap(), 0);
    }
    machine.clock().unwrap();
    assert_eq!(machine.commands().into_iter().collect::<Vec<_>>(), [(GET_RANDOM, 3)]);
    machine.forget_commands();
    assert_eq!(machine.command_total(), 0);
}

#[test]
fn several_clients_share_the_tpm() {
    let (_directory, machine) = booted(0, "shim-grub");
    let (mut one, mut other) = (connect(&machine), connect(&machine));
    for _ in 0..10 {
        assert_eq!(get_random(&mut one).unwrap(), 0);
        assert_eq!(get_random(&mut other).unwrap(), 0);
    }
}

#[test]
fn a_dropped_response_never_comes_and_the_next_one_does() {
    let (_directory, machine) = booted(0, "shim-grub");
    machine.inject(Fault::on(GET_RANDOM, Effect::Drop).times(1));
    let error = get_random(&mut connect(&machine)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "expected silence, found {error}");
    assert_eq!(get_random(&mut connect(&machine)).unwrap(), 0);
    assert!(machine.faults().is_empty());
}

#[test]
fn a_fault_on_one_command_spares_the_others() {
    let (_directory, machine) = booted(0, "shim-grub");
    machine.inject(Fault::on(CommandCode::QUOTE, Effect::Disconnect));
    assert_eq!(get_random(&mut connect(&machine)).unwrap(), 0);
    machine.inject(Fault::every(Effect::Disconnect));
    assert!(get_random(&mut connect(&machine)).is_err());
    machine.heal();
    assert_eq!(get_random(&mut connect(&machine)).unwrap(), 0);
}

#[test]
fn a_delayed_response_comes_late() {
    let (_directory, machine) = booted(0, "shim-grub");
    machine.inject(Fault::every(Effect::Delay(Duration::from_millis(120))));
    let start = Instant::now();
    assert_eq!(get_random(&mut connect(&machine)).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(120));
}

#[test]
fn a_refused_command_gets_the_code_and_does_not_reach_the_tpm() {
    let (_directory, machine) = booted(0, "shim-grub");
    machine.inject(Fault::every(Effect::Refuse(0x922)).times(2));
    let mut stream = connect(&machine);
    assert_eq!(get_random(&mut stream).unwrap(), 0x922);
    assert_eq!(get_random(&mut stream).unwrap(), 0x922);
    assert_eq!(get_random(&mut stream).unwrap(), 0);
}

#[test]
fn a_reboot_cuts_every_connection_and_the_port_serves_new_ones() {
    let (_directory, mut machine) = booted(0, "shim-grub");
    let mut stream = connect(&machine);
    assert_eq!(get_random(&mut stream).unwrap(), 0);
    machine.reboot(&profile_of("shim-grub")).unwrap();
    assert!(get_random(&mut stream).is_err());
    assert_eq!(get_random(&mut connect(&machine)).unwrap(), 0);
}

#[test]
fn garbage_on_the_ports_ends_that_connection_and_no_other() {
    let (_directory, machine) = booted(0, "shim-grub");
    let mut good = connect(&machine);
    for garbage in [&[0u8; 10][..], &[0xff; 64], b"GET / HTTP/1.1\r\n\r\n", &[0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0]] {
        let mut stream = connect(&machine);
        stream.write_all(garbage).unwrap();
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    assert_eq!(get_random(&mut good).unwrap(), 0);
}

#[test]
fn software_has_no_hand_on_the_power() {
    let (_directory, machine) = booted(0, "shim-grub");
    let before = machine.clock().unwrap();
    for order in [2u32, 3, 14] {
        let mut stream = TcpStream::connect(("127.0.0.1", machine.port() + 1)).unwrap();
        stream.write_all(&order.to_be_bytes()).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_ne!(answer, [0; 4], "control command {order} was obeyed");
    }
    assert_eq!(machine.clock().unwrap().reset_count, before.reset_count);
}

#[test]
fn loaded_handles_show_what_software_left_behind() {
    let (_directory, machine) = booted(0, "shim-grub");
    assert!(machine.loaded_handles().unwrap().sessions.is_empty());
    let mut stream = connect(&machine);
    // TPM2_StartAuthSession: no key, no binding, 16 bytes of nonce, no secret, HMAC session, no symmetric, SHA-256.
    let mut command = vec![0x80, 0x01, 0, 0, 0, 0x2b, 0, 0, 0x01, 0x76, 0x40, 0, 0, 7, 0x40, 0, 0, 7, 0, 16];
    command.extend([7; 16]);
    command.extend([0, 0, 0, 0, 0x10, 0, 0x0b]);
    stream.write_all(&command).unwrap();
    let mut header = [0; 10];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[6..], [0; 4]);
    drop(stream);
    assert_eq!(machine.loaded_handles().unwrap().sessions.len(), 1);
}
