//! The fast Fourier transform of one fixed size, for sliding recordings along what was heard.

use std::sync::Arc;

pub use rustfft::num_complex::Complex32 as Complex;
use rustfft::{Fft, FftPlanner};

/// Points of the transform.
pub const SIZE: usize = 4096;

/// Both directions of [`SIZE`] points.
pub struct Fourier {
    forward: Arc<dyn Fft<f32>>,
    backward: Arc<dyn Fft<f32>>,
}

impl Fourier {
    /// Makes the tables.
    pub fn new() -> Fourier {
        let mut planner = FftPlanner::new();
        Fourier {
            forward: planner.plan_fft_forward(SIZE),
            backward: planner.plan_fft_inverse(SIZE),
        }
    }

    /// Back, scaled. In place; `points` has [`SIZE`] of them.
    pub fn backward(&self, points: &mut [Complex]) {
        self.backward.process(points);
        points.iter_mut().for_each(|point| *point /= SIZE as f32);
    }

    /// Of a real signal, zeros after its end.
    pub fn spectrum(&self, signal: &[f32]) -> Vec<Complex> {
        let mut points = vec![Complex::default(); SIZE];
        for (point, sample) in points.iter_mut().zip(signal) {
            point.re = *sample;
        }
        self.forward.process(&mut points);
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
