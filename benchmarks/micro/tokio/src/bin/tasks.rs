// SPDX-License-Identifier: MIT
//! tasks switch|spawn|channel COUNT [TASKS]: the same with tokio, on its scheduler for one thread.
use micro::{argument, cpu_ns};
use std::time::Instant;
use tokio::sync::mpsc;

async fn measure_switch(count: usize, tasks: usize) {
    let yielder = move || async move {
        for _ in 0..count / tasks {
            tokio::task::yield_now().await;
        }
    };
    let all: Vec<_> = (0..tasks).map(|_| tokio::spawn(yielder())).collect();
    for task in all {
        task.await.unwrap();
    }
}

async fn measure_spawn(count: usize) {
    for _ in 0..count {
        tokio::spawn(async {}).await.unwrap();
    }
}

async fn measure_channel(count: usize) {
    let (to_there, mut there) = mpsc::channel(1);
    let (to_back, mut back) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(value) = there.recv().await {
            to_back.send(value).await.unwrap();
        }
    });
    for i in 0..count {
        to_there.send(i).await.unwrap();
        back.recv().await.unwrap();
    }
}

async fn measure(name: &str, count: usize, tasks: usize) {
    match name {
        "switch" => measure_switch(count, tasks).await,
        "spawn" => measure_spawn(count).await,
        _ => measure_channel(count).await,
    }
}

fn main() {
    let name = argument(1).unwrap();
    let count: usize = argument(2).unwrap().parse().unwrap();
    let tasks: usize = argument(3).map_or(2, |text| text.parse().unwrap());
    // In a task of its own: the future that block_on runs itself is slower to wake.
    let all = async move {
        measure(&name, count / 10, tasks).await;
        let (began, cpu_began) = (Instant::now(), cpu_ns());
        measure(&name, count, tasks).await;
        println!("cpu_ns {:.3}", (cpu_ns() - cpu_began) / count as f64);
        println!("wall_ns {:.3}", began.elapsed().as_nanos() as f64 / count as f64);
    };
    micro::run(async { tokio::spawn(all).await.unwrap() });
}
