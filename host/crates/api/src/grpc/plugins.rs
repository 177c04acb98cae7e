//! `PluginService`.

use nexus_proto::v1;
use nexus_proto::v1::plugin_service_server::PluginService;
use tonic::{Request, Response, Status, async_trait};

use super::{Face, answer, show};
use crate::app::{AppError, Caller, read_id};

impl Face {
    async fn resume(
        &self,
        caller: &Caller,
        request: v1::ResumePluginRequest,
    ) -> Result<v1::ResumePluginResponse, AppError> {
        self.app.resume_plugin(caller, &read_id("type", &request.r#type)?).await?;
        Ok(v1::ResumePluginResponse {})
    }

    async fn retire(
        &self,
        caller: &Caller,
        request: v1::RetirePluginRequest,
    ) -> Result<v1::RetirePluginResponse, AppError> {
        self.app.retire_plugin(caller, &read_id("type", &request.r#type)?).await?;
        Ok(v1::RetirePluginResponse {})
    }
}

#[async_trait]
impl PluginService for Face {
    async fn list_plugins(
        &self,
        request: Request<v1::ListPluginsRequest>,
    ) -> Result<Response<v1::ListPluginsResponse>, Status> {
        let (caller, _) = self.open(request)?;
        let plugins = self.app.plugins(&caller);
        answer(plugins.map(|all| v1::ListPluginsResponse { plugins: all.into_iter().map(show::plugin).collect() }))
    }

    async fn retire_plugin(
        &self,
        request: Request<v1::RetirePluginRequest>,
    ) -> Result<Response<v1::RetirePluginResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.retire(&caller, request).await)
    }

    async fn resume_plugin(
        &self,
        request: Request<v1::ResumePluginRequest>,
    ) -> Result<Response<v1::ResumePluginResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.resume(&caller, request).await)
    }
}
