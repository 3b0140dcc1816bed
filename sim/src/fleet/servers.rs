//! The servers that deliver a release, and their hosts.

use bytes::Bytes;
use waft::{
    Peer,
    coap::{self, Body, Code, Endpoint, Reply, option::format},
    gateway::{self, Gateway},
    mqtt::{
        broker::{self, Broker},
        packet::QoS,
    },
};

use crate::{
    App, Context, Network, NodeId,
    fleet::release::{CHUNK, reference},
};

/// Publishes by model A: the chunks first, the manifest last; without an image, the manifest alone (model B).
///
/// # Panics
/// If the broker takes no more.
pub fn publish(net: &mut Network, broker: NodeId, envelope: &[u8], image: Option<&[u8]>) {
    let now = net.now();
    net.with::<Broker, Listener, _>(broker, |_, broker, _| {
        if let Some(image) = image {
            for (n, chunk) in image.chunks(CHUNK as usize).enumerate() {
                let topic = format!("waft/lamp/{}/{n}", reference(image));
                broker.publish(now, &topic, Bytes::copy_from_slice(chunk), QoS::AtLeastOnce, true).unwrap();
            }
        }
        broker.publish(now, "waft/lamp/manifest", Bytes::copy_from_slice(envelope), QoS::AtLeastOnce, true).unwrap();
    })
    .unwrap();
}

/// The broker's host: takes every connection.
#[derive(Debug)]
pub struct Listener;

impl App<Broker> for Listener {
    fn event(&mut self, cx: &mut Context<'_>, _: &mut Broker, event: broker::Event) {
        if let broker::Event::Close { peer, .. } = event {
            cx.close(peer);
        }
    }
    fn opened(&mut self, cx: &mut Context<'_>, broker: &mut Broker, peer: Peer) {
        broker.accept(cx.now, peer).unwrap();
    }
    fn closed(&mut self, cx: &mut Context<'_>, broker: &mut Broker, peer: Peer) {
        broker.connection_lost(cx.now, peer);
    }
}

/// The gateway's host: its provider holds one image.
#[derive(Debug)]
pub struct Provider {
    /// The image.
    pub image: Vec<u8>,
    /// How often it was fetched.
    pub fetched: u32,
    /// The reports that came: their paths and their bytes.
    pub reports: Vec<(String, Vec<u8>)>,
}

impl App<Gateway> for Provider {
    fn event(&mut self, cx: &mut Context<'_>, gateway: &mut Gateway, event: gateway::Event<'_>) {
        match event {
            gateway::Event::Fetch { path, url } => {
                assert!(url.starts_with("http://provider/image/"), "{url}");
                self.fetched += 1;
                gateway.put(cx.now, &path, format::OCTET_STREAM, Bytes::from(self.image.clone())).unwrap();
            }
            gateway::Event::Report { path, payload, .. } => self.reports.push((path, payload.to_vec())),
        }
    }
}

/// A plain CoAP server with one file.
#[derive(Debug)]
pub struct FileServer {
    /// What it serves at `/fw.bin`.
    pub image: Vec<u8>,
}

impl App<Endpoint<'static>> for FileServer {
    fn event(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>, event: coap::Event<'_>) {
        if let coap::Event::Request { id, options, .. } = event {
            let found = options.path_is("/fw.bin");
            let reply = if found {
                Reply { body: Body::Whole(&self.image), ..Reply::new(Code::CONTENT, &[]) }
            } else {
                Reply::new(Code::NOT_FOUND, &[])
            };
            endpoint.respond(cx.now, &id, &reply).unwrap();
        }
    }
}
