#pragma once

#include "msa/v1/admin_service.pb.h"
#include "server/service_context.h"

namespace msa::server {

// What GetServerInfo says.
v1::GetServerInfoResponse DescribeServer(const ServiceContext& service);

}  // namespace msa::server
