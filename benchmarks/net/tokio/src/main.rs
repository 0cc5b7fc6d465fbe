// SPDX-License-Identifier: MIT

//! Echo over TCP by tokio ("tcp"), hello over HTTP by hyper ("http"), on one thread. Prints its port.
use hyper::service::{make_service_fn, service_fn};
use hyper::{Body, Response, Server};
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn echo(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let mut bytes = vec![0u8; 4096];
            while let Ok(n) = stream.read(&mut bytes).await {
                if n == 0 || stream.write_all(&bytes[..n]).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn hello(listener: std::net::TcpListener) {
    let make = make_service_fn(|_| async {
        Ok::<_, Infallible>(service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from("ok"))) }))
    });
    Server::from_tcp(listener).unwrap().tcp_nodelay(true).serve(make).await.unwrap();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    println!(":{}", listener.local_addr().unwrap().port());
    listener.set_nonblocking(true).unwrap();
    runtime.block_on(async move {
        if std::env::args().nth(1).as_deref() == Some("tcp") {
            echo(TcpListener::from_std(listener).unwrap()).await
        } else {
            hello(listener).await
        }
    });
}
