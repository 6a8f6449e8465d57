// Copies 64 rows of one head from q, k or v into workgroup memory, by 128 threads.
// Expects: q, k, v and stage as array<vec4<u32>>, params.heads, HEAD_DIM8, STAGE_STRIDE.

// Stages 64 rows of one head; rows beyond the tile's count are zero.
fn stage_rows_q(rows: vec2<u32>, head: u32, index: u32) {
    for (var i = index; i < 64u * HEAD_DIM8; i += 128u) {
        let at = ((rows.x + i / HEAD_DIM8) * params.heads + head) * HEAD_DIM8 + i % HEAD_DIM8;
        var value = vec4<u32>();
        if i / HEAD_DIM8 < rows.y { value = q[at]; }
        stage[(i / HEAD_DIM8) * STAGE_STRIDE + i % HEAD_DIM8] = value;
    }
}

fn stage_rows_k(rows: vec2<u32>, head: u32, index: u32) {
    for (var i = index; i < 64u * HEAD_DIM8; i += 128u) {
        let at = ((rows.x + i / HEAD_DIM8) * params.heads + head) * HEAD_DIM8 + i % HEAD_DIM8;
        var value = vec4<u32>();
        if i / HEAD_DIM8 < rows.y { value = k[at]; }
        stage[(i / HEAD_DIM8) * STAGE_STRIDE + i % HEAD_DIM8] = value;
    }
}

fn stage_rows_v(rows: vec2<u32>, head: u32, index: u32) {
    for (var i = index; i < 64u * HEAD_DIM8; i += 128u) {
        let at = ((rows.x + i / HEAD_DIM8) * params.heads + head) * HEAD_DIM8 + i % HEAD_DIM8;
        var value = vec4<u32>();
        if i / HEAD_DIM8 < rows.y { value = v[at]; }
        stage[(i / HEAD_DIM8) * STAGE_STRIDE + i % HEAD_DIM8] = value;
    }
}
