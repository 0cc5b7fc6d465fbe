// SPDX-License-Identifier: MIT
//! trip|jobs|sum|hand|ticker|beats|crash threads WORKERS SECONDS WHAT PIN: the same with tokio's spawn_blocking, from its
//! scheduler for one thread.
//!
//! jobs, WHAT: `tasks` are 1,000 tasks that each await one job after the other; `batch` is one task that submits 1,000
//! jobs and then awaits them all, again and again.
mod measure;
mod work;

use measure::*;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{spawn_blocking, spawn_local, LocalSet};
use tokio::time::{sleep, sleep_until};

fn empty() -> u64 {
    0
}

async fn trips(call: &Call) {
    let gap = Duration::from_micros(call.what.parse().unwrap());
    let mut course = Course::begin(call.seconds);
    loop {
        if !gap.is_zero() {
            sleep(gap).await;
        }
        let began = Instant::now();
        spawn_blocking(empty).await.unwrap();
        if !course.add(began) {
            break;
        }
    }
    course.print_trips();
}

async fn feed_one(stop: Rc<Cell<bool>>, done: Rc<Cell<u64>>) {
    while !stop.get() {
        spawn_blocking(empty).await.unwrap();
        done.set(done.get() + 1);
    }
}

async fn feed_batches(stop: Rc<Cell<bool>>, done: Rc<Cell<u64>>) {
    let mut batch = Vec::with_capacity(IN_FLIGHT);
    while !stop.get() {
        batch.extend((0..IN_FLIGHT).map(|_| spawn_blocking(empty)));
        for job in batch.drain(..) {
            job.await.unwrap();
        }
        done.set(done.get() + IN_FLIGHT as u64);
    }
}

async fn jobs(call: &Call) {
    let (stop, done) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let mut feeders = Vec::new();
    if call.what == "batch" {
        feeders.push(spawn_local(feed_batches(stop.clone(), done.clone())));
    } else {
        feeders.extend((0..IN_FLIGHT).map(|_| spawn_local(feed_one(stop.clone(), done.clone()))));
    }
    sleep(Duration::from_secs_f64(call.seconds * 0.2)).await;
    let (cpu_began, before, began) = (cpu_ns(), done.get(), Instant::now());
    sleep(Duration::from_secs_f64(call.seconds * 0.8)).await;
    let count = (done.get() - before) as f64;
    println!("per_s {:.1}", count / began.elapsed().as_secs_f64());
    println!("cpu_us {:.4}", (cpu_ns() - cpu_began) / count / 1e3);
    stop.set(true);
    for feeder in feeders {
        feeder.await.unwrap();
    }
}

/// The data goes to the job and comes back with its answer: a block is owned by one side at a time.
async fn sums(call: &Call) {
    let (mut course, mut data, mut with) = (Course::begin(call.seconds), vec![0u8; BYTES], 1u8);
    loop {
        data.fill(with);
        let began = Instant::now();
        let (back, sum) = spawn_blocking(move || {
            let sum = work::sum(&data);
            (data, sum)
        })
        .await
        .unwrap();
        let more = course.add(began);
        assert_eq!(sum, work::sum_of(with, BYTES));
        data = back;
        with = with.wrapping_add(1);
        if !more {
            break;
        }
    }
    println!("p50_ms {:.4}", course.percentile(50) / 1e6);
}

async fn hands(call: &Call) {
    for size in [64, 4 << 10, 256 << 10, BYTES, 64 << 20] {
        let (mut course, mut data, mut with) = (Course::begin(call.seconds / 5.0), vec![1u8; size], 1u8);
        loop {
            data[0] = with;
            let began = Instant::now();
            let (back, first) = spawn_blocking(move || {
                let first = data[0];
                (data, first)
            })
            .await
            .unwrap();
            let more = course.add(began);
            assert_eq!(first, with);
            data = back;
            with = with.wrapping_add(1);
            if !more {
                break;
            }
        }
        println!("us_{} {:.3}", size, course.percentile(50) / 1e3);
    }
}

fn compute(call: &Call, computations: usize) {
    for _ in 0..computations {
        let seconds = call.seconds;
        spawn_blocking(move || work::burn(seconds));
    }
}

async fn beat(first: Instant, until: Instant, period: Duration) -> Vec<f64> {
    let (mut late, mut next) = (Vec::new(), first);
    while next < until {
        sleep_until(next.into()).await;
        late.push(ns(next.elapsed()));
        next += period;
    }
    late
}

async fn ticker(call: &Call) {
    let (tick, began) = (Duration::from_millis(1), Instant::now());
    compute(call, COMPUTATIONS);
    print_late(beat(began + tick, began + Duration::from_secs_f64(call.seconds), tick).await);
}

async fn beats(call: &Call) {
    let (period, began) = (Duration::from_millis(100), Instant::now() + Duration::from_millis(100));
    let until = began + Duration::from_secs_f64(call.seconds);
    let first = |i: usize| began + period * i as u32 / BEATERS as u32;
    let all: Vec<_> = (0..BEATERS).map(|i| spawn_local(beat(first(i), until, period))).collect();
    sleep_until(began.into()).await;
    compute(call, call.workers);
    let mut together = Vec::new();
    for one in all {
        together.extend(one.await.unwrap());
    }
    print_late(together);
}

async fn measure(call: Call) {
    for _ in 0..2 * call.workers {
        spawn_blocking(empty).await.unwrap(); // the workers are up
    }
    if call.pin {
        pin_to(0);
    }
    match call.measure.as_str() {
        "trip" => trips(&call).await,
        "jobs" => jobs(&call).await,
        "sum" => sums(&call).await,
        "hand" => hands(&call).await,
        "ticker" => ticker(&call).await,
        "beats" => beats(&call).await,
        _ => spawn_blocking(work::crash).await.unwrap(),
    }
}

fn main() {
    let call = Call::from_arguments();
    let pin_workers = call.pin && call.workers == 1;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(call.workers)
        .on_thread_start(move || {
            if pin_workers {
                pin_to(1);
            }
        })
        .build()
        .unwrap();
    // In a task of its own: the future that block_on runs itself is slower to wake.
    LocalSet::new().block_on(&runtime, async { spawn_local(measure(call)).await.unwrap() });
}
