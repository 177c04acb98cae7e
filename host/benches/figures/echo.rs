//! The baseline: the cheapest possible unary call on the same stack, in a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use nexus_proto::v1::plugin_service_server::{PluginService, PluginServiceServer};
use nexus_proto::v1::{
    ListPluginsRequest, ListPluginsResponse, ResumePluginRequest, ResumePluginResponse, RetirePluginRequest,
    RetirePluginResponse,
};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

struct Empty;

#[tonic::async_trait]
impl PluginService for Empty {
    async fn list_plugins(&self, _: Request<ListPluginsRequest>) -> Result<Response<ListPluginsResponse>, Status> {
        Ok(Response::new(ListPluginsResponse::default()))
    }

    async fn retire_plugin(&self, _: Request<RetirePluginRequest>) -> Result<Response<RetirePluginResponse>, Status> {
        Ok(Response::new(RetirePluginResponse {}))
    }

    async fn resume_plugin(&self, _: Request<ResumePluginRequest>) -> Result<Response<ResumePluginResponse>, Status> {
        Ok(Response::new(ResumePluginResponse {}))
    }
}

/// Serves until killed.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?.with_nodelay(Some(true));
        println!("http://{}", incoming.local_addr()?);
        std::io::stdout().flush()?;
        let server = tonic::transport::Server::builder().add_service(PluginServiceServer::new(Empty));
        server.serve_with_incoming(incoming).await?;
        Ok(())
    })
}

/// The echo's process. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Echo {
    child: Child,
    pub(crate) address: String,
}

impl Echo {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg("echo").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().to_owned() })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
