// The queue, on the Redis that REDIS_URL names.
const redis = new URL(process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0");

export const QUEUE = "answers";
export const connection = {
  host: redis.hostname,
  port: Number(redis.port || 6379),
  username: redis.username || undefined,
  password: redis.password || undefined,
  db: Number(redis.pathname.slice(1) || 0),
  maxRetriesPerRequest: null,
};
