// Ray-marched toy world, one call per (frame, pixel). Compiles as CUDA (through
// CuPy/NVRTC) and as plain C++ (host fallback). Colours are authored in display
// space, squared to linear for shading and square-rooted on output.
#ifdef __CUDACC_RTC__
#define HD __device__ __forceinline__
#else
#include <cmath>
#include <cstdint>
#define HD static inline
#endif
typedef unsigned int u32;
struct V { float x, y, z; };
HD V v(float x, float y, float z) { V r = {x, y, z}; return r; }
HD V operator+(V a, V b) { return v(a.x + b.x, a.y + b.y, a.z + b.z); }
HD V operator-(V a, V b) { return v(a.x - b.x, a.y - b.y, a.z - b.z); }
HD V operator*(V a, V b) { return v(a.x * b.x, a.y * b.y, a.z * b.z); }
HD V operator*(V a, float s) { return v(a.x * s, a.y * s, a.z * s); }
HD float dot(V a, V b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
HD float len(V a) { return sqrtf(dot(a, a)); }
HD V nrm(V a) { return a * (1.0f / (len(a) + 1e-9f)); }
HD float mn(float a, float b) { return a < b ? a : b; }
HD float mx(float a, float b) { return a > b ? a : b; }
HD float cl(float x, float a, float b) { return mn(mx(x, a), b); }
HD float sst(float a, float b, float x) { float t = cl((x - a) / (b - a), 0.f, 1.f); return t * t * (3.f - 2.f * t); }
HD V mix(V a, V b, float t) { return a + (b - a) * t; }
HD V sq(V a) { return a * a; }
HD V refl(V d, V n) { return d - n * (2.f * dot(d, n)); }

HD u32 hsh(int x, int y, u32 s) {
  u32 h = (u32)x * 374761393u + (u32)y * 668265263u + s * 2246822519u;
  h = (h ^ (h >> 13)) * 1274126177u; h ^= h >> 16; h *= 2654435761u; return h ^ (h >> 15);
}
HD float h01(int x, int y, u32 s) { return (hsh(x, y, s) & 0xffffff) / 16777215.0f; }
HD float noise(float x, float y, u32 s) {
  float fx = floorf(x), fy = floorf(y); int ix = (int)fx, iy = (int)fy;
  float u = x - fx, w = y - fy; u = u * u * (3 - 2 * u); w = w * w * (3 - 2 * w);
  float a = h01(ix, iy, s), b = h01(ix + 1, iy, s), c = h01(ix, iy + 1, s), d = h01(ix + 1, iy + 1, s);
  return a + (b - a) * u + (c - a) * w + (a - b - c + d) * u * w;
}

// Per-frame parameter block: see pack() in render.py.
#define OB(P, i) ((P) + 24 + 20 * (i))

HD V to_local(const float* o, V p) {
  V q = v(p.x - o[0], p.y - o[1], p.z - o[2]);
  return v(o[3] * q.x + o[4] * q.y + o[5] * q.z, o[6] * q.x + o[7] * q.y + o[8] * q.z,
           o[9] * q.x + o[10] * q.y + o[11] * q.z) * (1.f / o[12]);
}

HD float unit_sdf(int s, V p) {
  if (s == 0) return len(p) - 1.f;                                   // ball
  if (s == 1) {                                                      // cube
    V q = v(fabsf(p.x) - .76f, fabsf(p.y) - .76f, fabsf(p.z) - .76f);
    return len(v(mx(q.x, 0), mx(q.y, 0), mx(q.z, 0))) + mn(mx(q.x, mx(q.y, q.z)), 0.f) - .07f;
  }
  if (s == 2) {                                                      // cylinder
    float dx = sqrtf(p.x * p.x + p.z * p.z) - .68f, dy = fabsf(p.y) - .84f;
    float ax = mx(dx, 0), ay = mx(dy, 0);
    return sqrtf(ax * ax + ay * ay) + mn(mx(dx, dy), 0.f) - .05f;
  }
  if (s == 3) {                                                      // cone
    float r = sqrtf(p.x * p.x + p.z * p.z);
    const float c = .8944272f, n = .4472136f;                        // slope 2:1
    return mx(r * c + (p.y - .9f) * n, -(p.y + .88f)) - .04f;
  }
  if (s == 4) {                                                      // ring, axis z
    float r = sqrtf(p.x * p.x + p.y * p.y) - .72f;
    return sqrtf(r * r + p.z * p.z) - .28f;
  }
  const float c = .8944272f, n = .4472136f;                          // pyramid
  float r = mx(fabsf(p.x), fabsf(p.z));
  return mx(r * c + (p.y - .9f) * n, -(p.y + .84f)) - .03f;
}

HD float obj_sdf(const float* o, V p) { return unit_sdf((int)o[13], to_local(o, p)) * o[12]; }
HD float map(const float* P, V p) {
  float d = obj_sdf(OB(P, 0), p);
  if (P[20] > 1.5f) d = mn(d, obj_sdf(OB(P, 1), p));
  return d;
}

// Interval of the ray inside the objects' bounding spheres (scaled by k).
HD bool bounds(const float* P, V o, V d, float k, float* t0, float* t1) {
  bool hit = false; *t0 = 1e9f; *t1 = -1e9f; int n = P[20] > 1.5f ? 2 : 1;
  for (int i = 0; i < n; i++) {
    const float* b = OB(P, i); V q = o - v(b[0], b[1], b[2]); float R = b[12] * k;
    float bb = dot(q, d), cc = dot(q, q) - R * R, h = bb * bb - cc;
    if (h > 0) { h = sqrtf(h); if (-bb + h > 0) { hit = true; *t0 = mn(*t0, -bb - h); *t1 = mx(*t1, -bb + h); } }
  }
  *t0 = mx(*t0, 0.f); return hit;
}
HD float march(const float* P, V o, V d, float tmax, int steps) {
  float a, b; if (!bounds(P, o, d, 1.47f, &a, &b)) return -1.f;
  float t = a; b = mn(b, tmax);
  for (int i = 0; i < steps && t < b; i++) {
    float h = map(P, o + d * t); if (h < 0.0006f * (1 + t)) return t; t += h;
  }
  return -1.f;
}
HD float shadow(const float* P, V o, V d, float k) {
  float a, b; if (!bounds(P, o, d, 1.9f, &a, &b)) return 1.f;
  float r = 1.f, t = mx(a, .03f);
  for (int i = 0; i < 28 && t < b; i++) {
    float h = map(P, o + d * t); r = mn(r, .5f + .5f * k * h / t); if (r <= 0.f) break;
    t += cl(h, .03f, .4f);
  }
  r = cl(r, 0.f, 1.f); return r * r * (3 - 2 * r);
}

HD V sky(const float* P, V d, bool seen = false) {
  int s = (int)P[15]; float y = mx(d.y, 0.f); V c;
  if (s == 0) {
    c = mix(v(.78f, .89f, .98f), v(.26f, .52f, .90f), powf(y, .55f));
    float k = 1.3f / (y + .22f); float n = .65f * noise(d.x * k + 4.f, d.z * k, 1u) + .35f * noise(d.x * k * 2.3f, d.z * k * 2.3f, 2u);
    c = mix(c, v(1, 1, 1), .85f * sst(.52f, .80f, n) * sst(.02f, .16f, y));
  } else if (s == 1) {
    c = mix(v(1.f, .62f, .30f), v(.90f, .42f, .44f), sst(0.f, .22f, y)); c = mix(c, v(.34f, .24f, .52f), sst(.12f, .62f, y));
    V sd = nrm(v(-.42f, .10f, -1.f)); float g = mx(dot(d, sd), 0.f);
    c = mix(c, v(1.f, .80f, .42f), .7f * powf(g, 24.f)); c = mix(c, v(1.f, .95f, .78f), sst(.9955f, .9968f, g));
  } else if (s == 2) {
    c = mix(v(.13f, .16f, .32f), v(.03f, .04f, .13f), powf(y, .5f));
    float az = atan2f(d.x, -d.z) * 9.f, el = asinf(cl(d.y, -1.f, 1.f)) * 9.f; int ix = (int)floorf(az), iy = (int)floorf(el);
    if (seen && h01(ix, iy, 7u) < .30f && d.y > .02f) {
      float px = ix + .25f + .5f * h01(ix, iy, 8u), py = iy + .25f + .5f * h01(ix, iy, 9u);
      float q = ((az - px) * (az - px) * cosf(el / 9.f) * cosf(el / 9.f) + (el - py) * (el - py));
      float b = .45f + .55f * h01(ix, iy, 10u); c = c + v(.95f, .95f, 1.f) * (b * expf(-q / (.016f * b)));
    }
    V md = nrm(v(.40f, .42f, -1.f)); float g = dot(d, md);
    c = mix(c, v(.96f, .96f, .88f), seen ? sst(.9962f, .9972f, g) : .35f * sst(.985f, 1.f, g)); c = c + v(.10f, .11f, .14f) * powf(mx(g, 0.f), 40.f);
  } else {
    c = mix(v(.80f, .82f, .84f), v(.52f, .56f, .62f), powf(y, .6f));
    float k = 1.1f / (y + .25f); float n = noise(d.x * k, d.z * k + 3.f, 3u);
    c = c * (1.f - .16f * sst(.3f, .8f, n) * sst(.02f, .2f, y));
  }
  return sq(c);
}
HD V horizon(const float* P) {
  int s = (int)P[15];
  return sq(s == 0 ? v(.78f, .89f, .98f) : s == 1 ? v(.98f, .60f, .34f) : s == 2 ? v(.13f, .16f, .32f) : v(.80f, .82f, .84f));
}
HD V light(int s) { return s == 0 ? v(1.15f, 1.08f, .96f) : s == 1 ? v(1.25f, .80f, .48f) : s == 2 ? v(.46f, .52f, .72f) : v(.40f, .40f, .42f); }
HD V ambient(int s) { return s == 0 ? v(.36f, .42f, .52f) : s == 1 ? v(.40f, .30f, .36f) : s == 2 ? v(.19f, .21f, .32f) : v(.62f, .64f, .68f); }

HD V ground_colour(int g, float x, float z, float dist) {
  float f = expf(-dist * .06f);
  if (g == 0) { float n = .75f * noise(x * 1.8f, z * 1.8f, 11u) + .25f * noise(x * 4.5f, z * 4.5f, 12u);
    return sq(mix(v(.36f, .60f, .22f), v(.52f, .76f, .32f), .5f + (n - .5f) * f)); }
  if (g == 1) { float w = sinf(z * 7.f + 1.6f * sinf(x * .9f) + 2.f * noise(x * .7f, z * .7f, 13u));
    return sq(v(.90f, .78f, .55f) * (1.f + .055f * w * f)); }
  if (g == 2) { float n = noise(x * 1.1f, z * 1.1f, 14u); return sq(mix(v(.76f, .81f, .90f), v(.86f, .89f, .94f), .5f + (n - .5f) * f)); }
  if (g == 3) {
    float w = mx(.03f, dist * dist * .0028f), ax = x - 2.f * floorf(x * .5f), az = z - 2.f * floorf(z * .5f);
    float sx = cl((.5f - fabsf(ax - 1.5f)) / w, -1.f, 1.f), sz = cl((.5f - fabsf(az - 1.5f)) / w, -1.f, 1.f);
    return sq(mix(v(.25f, .27f, .36f), v(.93f, .91f, .87f), .5f + .5f * sx * sz));
  }
  return sq(v(.10f, .34f, .44f));
}

HD V shade_object(const float* P, V p, V d, bool full) {
  int s = (int)P[15]; const float* o = OB(P, 0);
  if (P[20] > 1.5f && obj_sdf(OB(P, 1), p) < obj_sdf(o, p)) o = OB(P, 1);
  const float e = .002f;
  float a1 = obj_sdf(o, p + v(e, -e, -e)), a2 = obj_sdf(o, p + v(-e, -e, e)), a3 = obj_sdf(o, p + v(-e, e, -e)), a4 = obj_sdf(o, p + v(e, e, e));
  V n = nrm(v(a1 - a2 - a3 + a4, -a1 - a2 + a3 + a4, -a1 + a2 - a3 + a4));
  V c = v(o[14], o[15], o[16]), q = to_local(o, p); int shape = (int)o[13];
  float ang = shape == 4 ? atan2f(q.y, q.x) : atan2f(q.z, q.x), pat = 0.f;      // broad two-tone panels make turning visible
  V f = v(fabsf(q.x), fabsf(q.y), fabsf(q.z));
  if (shape == 0 || shape == 2 || shape == 3) pat = cl(sinf(2.f * ang) * 6.f * (shape == 3 ? mx(.15f, .5f - .5f * q.y) : mx(.15f, sqrtf(q.x * q.x + q.z * q.z))), -1.f, 1.f);
  else if (shape == 4) pat = cl(sinf(3.f * ang) * 6.f, -1.f, 1.f);
  else if (shape == 1) pat = cl((mx(mx(mn(f.x, f.y), mn(f.y, f.z)), mn(f.x, f.z)) - .46f) * 18.f, -1.f, 1.f);   // a square on each face
  else pat = cl((f.x - f.z) * 9.f, -1.f, 1.f);                                                                  // faces in turn
  V base = sq(c * (.84f + .16f * pat)); if (c.x + c.y + c.z < .6f) base = sq(c + v(.11f, .11f, .12f) * (.5f - .5f * pat));
  V L = v(P[16], P[17], P[18]); float nl = mx(dot(n, L), 0.f);
  float sh = full && nl > 0 ? shadow(P, p + n * .03f, L, 10.f) : .8f;
  V gcol = ground_colour((int)P[14], p.x, p.z, 9.f);
  float up = .5f + .5f * n.y; V amb = mix(gcol * .45f, v(1, 1, 1), up) * ambient(s); amb = amb * cl(.45f + .75f * p.y, .45f, 1.f);
  V col = base * (amb + light(s) * (nl * sh));
  float nv = cl(-dot(n, d), 0.f, 1.f); V r = refl(d, n);
  if (o[17] > .5f) {
    float fr = .06f + .60f * powf(1.f - nv, 4.f); V env = r.y > 0 ? sky(P, r) : mix(gcol * (ambient(s) + light(s) * .6f), horizon(P), expf(-2.f * fabsf(r.y)) * .6f);
    col = col * (1.f - fr * .7f) + env * fr; col = col + light(s) * (1.1f * sh * powf(mx(dot(r, L), 0.f), 70.f));
  } else col = col + light(s) * (.05f * sh * powf(mx(dot(r, L), 0.f), 8.f));
  return col;
}

HD V trace(const float* P, V o, V d, float* hit) {
  int g = (int)P[14], s = (int)P[15]; V L = v(P[16], P[17], P[18]);
  float tg = d.y < -1e-4f ? -o.y / d.y : 1e9f;
  float to = march(P, o, d, tg, 64);
  *hit = to > 0 ? 1.f : 0.f;
  if (to > 0) return shade_object(P, o + d * to, d, true);
  if (tg > 200.f) return sky(P, d, true);
  V p = o + d * tg, n = v(0, 1, 0), col;
  float sh = shadow(P, v(p.x, .01f, p.z), L, s == 3 ? 2.5f : 8.f);
  float ao = cl(.35f + 1.1f * map(P, v(p.x, .45f, p.z)), .35f, 1.f);
  if (g == 4) {
    float t = P[13], f = expf(-tg * .07f);
    float nx = f * (.06f * cosf(1.5f * p.x + .5f * p.z + 1.8f * t) + .03f * cosf(-1.1f * p.x + 2.3f * p.z + 2.2f * t + 1.f));
    float nz = f * (.09f * cosf(.5f * p.x + 2.2f * p.z + 1.7f * t + 2.f) + .03f * cosf(2.5f * p.x - 1.2f * p.z + 2.0f * t));
    n = nrm(v(nx, 1.f, nz)); V r = refl(d, n); if (r.y < .02f) { r.y = .02f; r = nrm(r); }
    float fr = .12f + .75f * powf(1.f - cl(-dot(n, d), 0.f, 1.f), 3.f);
    V deep = ground_colour(4, p.x, p.z, tg) * (ambient(s) * 1.2f + light(s) * (.55f * (.55f + .45f * sh) * mx(dot(n, L), 0.f)));
    float tr = march(P, v(p.x, .01f, p.z), r, 12.f, 32);
    V env = tr > 0 ? shade_object(P, v(p.x, .01f, p.z) + r * tr, r, false) : sky(P, r);
    col = deep * (1.f - fr) + env * mx(fr, tr > 0 ? .38f : 0.f); col = col + light(s) * (.30f * sh * powf(mx(dot(r, L), 0.f), 30.f));
  } else {
    col = ground_colour(g, p.x, p.z, tg) * (ambient(s) * ao + light(s) * (sh * L.y * 1.05f));
    if (g == 3) {
      V r = refl(d, n); float fr = .05f + .35f * powf(1.f - r.y, 4.f), tr = march(P, v(p.x, .01f, p.z), r, 12.f, 32);
      V env = tr > 0 ? shade_object(P, v(p.x, .01f, p.z) + r * tr, r, false) : sky(P, r);
      fr = mx(fr, tr > 0 ? .16f : 0.f); col = col * (1.f - fr) + env * fr;
    }
  }
  float fog = 1.f - expf(-tg * tg * .0016f);
  return mix(col, horizon(P), fog);
}

HD void pixel(const float* P, int x, int y, int W, int H, int ss, int planes, unsigned char* out, int plane) {
  V o = v(P[0], P[1], P[2]), R = v(P[3], P[4], P[5]), U = v(P[6], P[7], P[8]), F = v(P[9], P[10], P[11]); float th = P[12];
  V acc = v(0, 0, 0); float cover = 0;
  for (int i = 0; i < ss * ss; i++) {
    float px = ((x + (i % ss + .5f) / ss) / W * 2 - 1) * th * W / H, py = (1 - (y + (i / ss + .5f) / ss) / H * 2) * th;
    float hit; V c = trace(P, o, nrm(F + R * px + U * py), &hit); cover += hit;
    acc = acc + v(sqrtf(mn(mx(c.x, 0.f), 1.f)), sqrtf(mn(mx(c.y, 0.f), 1.f)), sqrtf(mn(mx(c.z, 0.f), 1.f)));
  }
  acc = acc * (255.f / (ss * ss));
  out[0] = (unsigned char)(acc.x + .5f); out[plane] = (unsigned char)(acc.y + .5f); out[2 * plane] = (unsigned char)(acc.z + .5f);
  if (planes > 3) out[3 * plane] = (unsigned char)(cover * (255.f / (ss * ss)) + .5f);
}

#ifdef __CUDACC_RTC__
extern "C" __global__ void render(const float* params, unsigned char* out, int frames, int W, int H, int ss, int planes) {
  int f = blockIdx.z, x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 8 + threadIdx.y;
  __shared__ float P[64]; int i = threadIdx.y * 16 + threadIdx.x; if (i < 64) P[i] = params[(size_t)f * 64 + i]; __syncthreads();
  if (x < W && y < H) pixel(P, x, y, W, H, ss, planes, out + (size_t)f * planes * W * H + y * W + x, W * H);
}
#else
extern "C" void render(const float* params, unsigned char* out, int frames, int W, int H, int ss, int planes) {
#pragma omp parallel for
  for (int f = 0; f < frames; f++)
    for (int y = 0; y < H; y++) for (int x = 0; x < W; x++)
      pixel(params + (size_t)f * 64, x, y, W, H, ss, planes, out + (size_t)f * planes * W * H + y * W + x, W * H);
}
#endif
