from harness import bench, recorded, redis_url, stub_bench

__all__ = ["bench", "recorded", "redis_url", "stub_bench"]
