"""Online questions to issuing regions: within a lane's time, or not at all."""
