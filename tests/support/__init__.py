"""What tests share: servers, processes, settings, histories, clients."""
