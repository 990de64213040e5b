struct EduState {
    uint32_t status;

    uint32_t irq_status;

    struct dma_state dma;
};

static uint64_t edu_mmio_read(void *opaque, hwaddr addr, unsigned size)
{
    switch (addr) {
    case 0x24:
        val = edu->irq_status;
        break;
    case 0x80:
        dma_rw(edu, false, &val, &edu->dma.src, false);
        break;
    }
}

static void edu_mmio_write(void *opaque, hwaddr addr, uint64_t val, unsigned size)
{
    switch (addr) {
    case 0x64:
        edu_lower_irq(edu, val);
        break;
    case 0x80:
        dma_rw(edu, true, &val, &edu->dma.src, false);
        break;
    }
}
