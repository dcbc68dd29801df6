//! The fast Fourier transform of one fixed size, for sliding recordings along what was heard.

use std::f32::consts::TAU;
use std::ops::{Add, Mul, Sub};

/// A complex number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Complex {
    /// Real part.
    pub re: f32,
    /// Imaginary part.
    pub im: f32,
}

impl Complex {
    /// The conjugate.
    pub fn conjugate(self) -> Complex {
        Complex {
            im: -self.im,
            ..self
        }
    }

    /// Times the imaginary unit.
    pub fn turned(self) -> Complex {
        Complex {
            re: -self.im,
            im: self.re,
        }
    }
}

impl Add for Complex {
    type Output = Complex;
    fn add(self, other: Complex) -> Complex {
        Complex {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }
}

impl Sub for Complex {
    type Output = Complex;
    fn sub(self, other: Complex) -> Complex {
        Complex {
            re: self.re - other.re,
            im: self.im - other.im,
        }
    }
}

impl Mul for Complex {
    type Output = Complex;
    fn mul(self, other: Complex) -> Complex {
        Complex {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }
}

/// Points of the transform.
pub const SIZE: usize = 4096;

/// Tables for [`SIZE`] points.
pub struct Fourier {
    turns: Vec<Complex>,
    swaps: Vec<(u16, u16)>,
}

impl Fourier {
    /// Makes the tables.
    pub fn new() -> Fourier {
        let turn = |at: usize| {
            let (im, re) = (-TAU * at as f32 / SIZE as f32).sin_cos();
            Complex { re, im }
        };
        let bits = SIZE.trailing_zeros();
        let swap = |at: u16| (at, at.reverse_bits() >> (16 - bits));
        Fourier {
            turns: (0..SIZE / 2).map(turn).collect(),
            swaps: (0..SIZE as u16)
                .map(swap)
                .filter(|(one, other)| one < other)
                .collect(),
        }
    }

    /// In place; `points` has [`SIZE`] of them.
    pub fn forward(&self, points: &mut [Complex]) {
        for (one, other) in &self.swaps {
            points.swap(usize::from(*one), usize::from(*other));
        }
        let mut half = 1;
        while half < SIZE {
            let stride = SIZE / 2 / half;
            for block in points.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((low, high), turn) in low
                    .iter_mut()
                    .zip(high)
                    .zip(self.turns.iter().step_by(stride))
                {
                    let turned = *high * *turn;
                    *high = *low - turned;
                    *low = *low + turned;
                }
            }
            half *= 2;
        }
    }

    /// Back, scaled. In place.
    pub fn backward(&self, points: &mut [Complex]) {
        for point in points.iter_mut() {
            *point = point.conjugate();
        }
        self.forward(points);
        for point in points.iter_mut() {
            *point = Complex {
                re: point.re / SIZE as f32,
                im: -point.im / SIZE as f32,
            };
        }
    }

    /// Of a real signal, zeros after its end.
    pub fn spectrum(&self, signal: &[f32]) -> Vec<Complex> {
        let mut points = vec![Complex::default(); SIZE];
        for (point, sample) in points.iter_mut().zip(signal) {
            point.re = *sample;
        }
        self.forward(&mut points);
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_and_a_shifted_pulse() {
        let fourier = Fourier::new();
        let signal: Vec<f32> = (0..SIZE).map(|at| ((at * at) % 97) as f32 - 40.0).collect();
        let mut points = fourier.spectrum(&signal);
        assert!((points[0].re - signal.iter().sum::<f32>()).abs() < 1.0);
        fourier.backward(&mut points);
        assert!(
            points
                .iter()
                .zip(&signal)
                .all(|(point, sample)| (point.re - sample).abs() < 0.01)
        );

        let mut pulse = vec![0.0; SIZE];
        pulse[1] = 1.0;
        let points = fourier.spectrum(&pulse);
        assert!((points[SIZE / 4].im + 1.0).abs() < 1e-4 && points[SIZE / 4].re.abs() < 1e-4);
    }
}
