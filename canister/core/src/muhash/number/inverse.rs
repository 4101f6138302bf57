//! The inverse modulo the prime, by the division steps of Bernstein and Yang ("Fast constant-time gcd
//! computation and modular inversion", 2019): a step looks at lowest bits alone, so 28 of them are
//! found from one limb and done to the whole numbers together, which then lose exactly one limb.
//!
//! Fermat's little theorem, 3,080 multiplications, costs some thirty times as much.

use super::{LAST_BITS, LIMB_BITS, MASK, Number, REST, USED};

/// Batches of steps after which one of the numbers is zero, whatever they were: (49 * 3072 + 57) / 17
/// steps suffice.
const BATCHES_MAX: usize = (49 * 3_072 + 57) / 17 / LIMB_BITS as usize + 1;

/// The lowest limb of the prime.
const LOWEST: i64 = MASK + 1 - REST;

/// What makes 1 of it, modulo a limb.
const LOWEST_INVERSE: i64 = {
    let mut inverse = 1_i64;
    let mut round = 0;
    // Each round doubles the number of right bits.
    while round < 5 {
        inverse = (inverse * ((2 - LOWEST * inverse) & MASK)) & MASK;
        round += 1;
    }
    inverse
};

/// A number with a sign: all limbs but the last are not negative.
type Signed = [i64; USED];

/// What a batch of steps does: new pairs are these combinations of old ones, a limb lower.
#[derive(Clone, Copy)]
struct Matrix {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

impl Number {
    /// Returns the number that makes this one 1; zero for zero. Its cost depends on the number.
    pub(in super::super) fn inverse(&self) -> Self {
        let mut f = [MASK; USED];
        f[0] = LOWEST;
        f[USED - 1] = (1 << LAST_BITS) - 1;
        let mut g = [0; USED];
        for (slot, limb) in g.iter_mut().zip(self.reduced().0) {
            *slot = i64::from(limb);
        }
        // Times this number, modulo the prime, d is f and e is g.
        let (mut d, mut e) = ([0; USED], [0; USED]);
        e[0] = 1;
        let mut delta = 1;
        for _ in 0..BATCHES_MAX {
            if g.iter().all(|limb| *limb == 0) {
                break;
            }
            let matrix = Matrix::of_steps(&mut delta, f[0], g[0]);
            matrix.shorten(&mut f, &mut g);
            matrix.follow(&mut d, &mut e);
        }
        // Now f is 1 or -1, or the prime where this number is zero.
        let sign = if f[USED - 1] < 0 { -1 } else { 1 };
        of_signed(&d, sign)
    }
}

impl Matrix {
    /// Finds a batch of steps from lowest limbs.
    fn of_steps(delta: &mut i64, mut f: i64, mut g: i64) -> Self {
        let [mut u, mut v, mut q, mut r] = [1, 0, 0, 1];
        for _ in 0..LIMB_BITS {
            if g & 1 == 0 {
                *delta += 1;
            } else if *delta > 0 {
                *delta = 1 - *delta;
                (f, g) = (g, g - f);
                (u, v, q, r) = (q, r, q - u, r - v);
            } else {
                *delta += 1;
                g += f;
                q += u;
                r += v;
            }
            g >>= 1;
            u <<= 1;
            v <<= 1;
        }
        Self { u, v, q, r }
    }

    /// Does the steps.
    fn shorten(&self, f: &mut Signed, g: &mut Signed) {
        let (mut f_carry, mut g_carry) = (0, 0);
        for at in 0..USED {
            f_carry += self.u * f[at] + self.v * g[at];
            g_carry += self.q * f[at] + self.r * g[at];
            if at > 0 {
                f[at - 1] = f_carry & MASK;
                g[at - 1] = g_carry & MASK;
            }
            f_carry >>= LIMB_BITS;
            g_carry >>= LIMB_BITS;
        }
        f[USED - 1] = f_carry;
        g[USED - 1] = g_carry;
    }

    /// Does the same modulo the prime. Both stay above minus twice the prime, and below it.
    fn follow(&self, d: &mut Signed, e: &mut Signed) {
        let (d_sign, e_sign) = (d[USED - 1] >> 63, e[USED - 1] >> 63);
        // How often the prime is added, so that the lowest limb becomes zero.
        let times = |a: i64, b: i64| {
            let begin = (d_sign & a) + (e_sign & b);
            let lowest = a * d[0] + b * e[0];
            begin - ((LOWEST_INVERSE * (lowest & MASK) + begin) & MASK)
        };
        let (d_times, e_times) = (times(self.u, self.v), times(self.q, self.r));
        // The prime is 2^3072 less the rest.
        let (mut d_carry, mut e_carry) = (-REST * d_times, -REST * e_times);
        for at in 0..USED {
            if at == USED - 1 {
                d_carry += d_times << LAST_BITS;
                e_carry += e_times << LAST_BITS;
            }
            d_carry += self.u * d[at] + self.v * e[at];
            e_carry += self.q * d[at] + self.r * e[at];
            if at > 0 {
                d[at - 1] = d_carry & MASK;
                e[at - 1] = e_carry & MASK;
            }
            d_carry >>= LIMB_BITS;
            e_carry >>= LIMB_BITS;
        }
        d[USED - 1] = d_carry;
        e[USED - 1] = e_carry;
    }
}

/// Adds twice the prime to a number above minus twice the prime and below it, or to its opposite.
fn of_signed(limbs: &Signed, sign: i64) -> Number {
    let mut number = Number::ONE;
    let mut carry = -2 * REST;
    for (at, (slot, limb)) in number.0.iter_mut().zip(limbs).enumerate() {
        carry += limb * sign;
        if at == USED - 1 {
            carry += 2 << LAST_BITS;
            // Below 2^22: nothing is left of it.
            *slot = carry as i32;
        } else {
            *slot = (carry & MASK) as i32;
            carry >>= LIMB_BITS;
        }
    }
    number
}
