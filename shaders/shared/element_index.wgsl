// The element an invocation of an element-wise kernel works on: 64 threads a group, groups folded into x and y.

fn element_index(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return (group.y * groups.x + group.x) * 64u + local;
}
