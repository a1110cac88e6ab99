import { openStream } from "streamstraight-celery";
import { sharedFetch } from "streamstraight-celery/shared";

export const open = (ref) => openStream(ref, { fetch: sharedFetch });
