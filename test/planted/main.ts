// stub
export async function runPlanted(_p: (l: string) => void): Promise<{ planted: number; caught: number; names: string[] }> { return { planted: 0, caught: 0, names: [] }; }
