// SPDX-License-Identifier: MIT
//! What measure.h is to C: how the program is called, its clocks, and a course of samples.
use std::time::{Duration, Instant};

pub const IN_FLIGHT: usize = 1000;
pub const BYTES: usize = 10 << 20;
pub const COMPUTATIONS: usize = 4;
pub const BEATERS: usize = 1000;
const SAMPLES_MAX: usize = 1 << 20;

#[derive(Clone)]
pub struct Call {
    pub measure: String,
    pub workers: usize,
    pub seconds: f64,
    pub what: String,
    pub pin: bool,
}

impl Call {
    pub fn from_arguments() -> Call {
        let words: Vec<String> = std::env::args().collect();
        Call {
            measure: words[1].clone(),
            workers: words[3].parse().unwrap(),
            seconds: words[4].parse().unwrap(),
            what: words[5].clone(),
            pin: words[6] == "1",
        }
    }
}

pub fn pin_to(core: usize) {
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set);
    }
}

pub fn cpu_ns() -> f64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let ns = |time: libc::timeval| time.tv_sec as f64 * 1e9 + time.tv_usec as f64 * 1e3;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}

pub fn ns(time: Duration) -> f64 {
    time.as_nanos() as f64
}

pub struct Course {
    counted_from: Instant,
    until: Instant,
    counts: bool,
    cpu: f64,
    took: Vec<f64>,
}

impl Course {
    pub fn begin(seconds: f64) -> Course {
        let now = Instant::now();
        Course {
            counted_from: now + Duration::from_secs_f64(seconds * 0.2),
            until: now + Duration::from_secs_f64(seconds),
            counts: false,
            cpu: 0.0,
            took: Vec::with_capacity(SAMPLES_MAX),
        }
    }

    pub fn add(&mut self, began: Instant) -> bool {
        let now = Instant::now();
        if !self.counts && now >= self.counted_from {
            self.counts = true;
            self.cpu = cpu_ns();
            return true;
        }
        if self.counts {
            self.took.push(ns(now - began));
        }
        self.took.is_empty() || (now < self.until && self.took.len() < SAMPLES_MAX)
    }

    pub fn percentile(&mut self, percent: usize) -> f64 {
        percentile(&mut self.took, percent)
    }

    pub fn print_trips(&mut self) {
        let used = cpu_ns() - self.cpu;
        println!("p50_us {:.3}\np99_us {:.3}", self.percentile(50) / 1e3, self.percentile(99) / 1e3);
        println!("cpu_us {:.3}", used / self.took.len() as f64 / 1e3);
    }
}

fn percentile(values: &mut Vec<f64>, percent: usize) -> f64 {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

pub fn print_late(mut late: Vec<f64>) {
    println!("p99_ms {:.4}\nmax_ms {:.4}", percentile(&mut late, 99) / 1e6, percentile(&mut late, 100) / 1e6);
}
