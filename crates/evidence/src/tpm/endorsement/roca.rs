//! ROCA (CVE-2017-15361): moduli of Infineon's weak generator are powers of 65537 modulo every small prime.

/// The primes from 3 to 167. The product of these (and 2) divides the generator's constant for every key size from
/// 512 bits on; some 2^-28 of all other moduli pass by accident.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];
const GENERATOR: u32 = 65_537;

/// Whether a big-endian modulus has the fingerprint.
pub(super) fn is_weak(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|prime| is_power_of_generator(remainder(modulus, *prime), *prime))
}

fn remainder(modulus: &[u8], prime: u32) -> u32 {
    modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime)
}

fn is_power_of_generator(residue: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == residue {
            return true;
        }
        power = power * (GENERATOR % prime) % prime;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that is a power of 65537 modulo every prime at once: 65537^7 itself.
    #[test]
    fn a_power_of_the_generator_is_weak_and_its_neighbour_is_not() {
        let power = 65_537_u128.pow(7).to_be_bytes();
        assert!(is_weak(&power));
        let next = (65_537_u128.pow(7) + 2).to_be_bytes();
        assert!(!is_weak(&next));
    }
}
